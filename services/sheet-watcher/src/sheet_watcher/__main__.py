"""`python -m sheet_watcher`."""

from sheet_watcher.main import main

main()
