"""The documents of a company: what each kind does when it is written, and how they are read again. No HTTP, no postings."""
