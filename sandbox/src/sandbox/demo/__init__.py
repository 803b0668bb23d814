"""`make demo`: the main job once, end to end, checked against the stand-ins' books and not against our own ledger."""
