"""What Intuit takes and refuses, whatever the kind: fault codes, validation, gates, taxes, limits, tokens. Stores nothing."""
