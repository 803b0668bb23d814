"""A stand-in for QuickBooks Online's Accounting API v3 and Intuit's OAuth, as strict and as unreliable as the real ones."""
