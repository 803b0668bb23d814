"""`python -m emr_poller`."""

from emr_poller.main import main

main()
