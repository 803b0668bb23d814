"""What Intuit accepts and refuses, for all kinds: fault codes, validation, gates, taxes, limits, tokens. Stores nothing."""
