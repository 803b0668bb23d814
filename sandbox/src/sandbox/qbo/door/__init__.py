"""Where clients come in: HTTP, the company API, OAuth, files and pages. It decides nothing about documents."""
