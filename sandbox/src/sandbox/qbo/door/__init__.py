"""The endpoints for clients: HTTP, the company API, OAuth, files and pages. Without any rules about documents."""
