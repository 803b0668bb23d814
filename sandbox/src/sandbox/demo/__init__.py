"""`make demo`: the whole flow once, end to end, checked against the stand-ins' books, not against our own ledger."""
