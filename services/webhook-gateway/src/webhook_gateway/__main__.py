"""`python -m webhook_gateway`."""

from webhook_gateway.main import main

main()
