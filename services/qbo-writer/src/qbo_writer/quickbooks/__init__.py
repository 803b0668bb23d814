"""QuickBooks Online: its HTTP, JSON, codes, lists, tokens and limits."""
