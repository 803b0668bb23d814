"""Google Sheet rows become commands; events are written back into the same row."""
