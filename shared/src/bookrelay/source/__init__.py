"""What every source of documents shares: errors, settings, when it is read, what it says, and how that leaves.

A source reads a system outside and says what should be true in the books, or why that cannot be: docs/adding-a-source.md.
"""
