"""The reports of `GET /reports/{name}`, computed from the postings."""
