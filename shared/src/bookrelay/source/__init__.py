"""What all sources of documents share: errors, settings, the polling schedule, commands and rejections, the outbox.

A source reads an external system and publishes which documents shall exist, or why one cannot: see docs/adding-a-source.md.
"""
