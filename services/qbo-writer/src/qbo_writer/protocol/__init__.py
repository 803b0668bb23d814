"""Posts once: what is decided, sent, looked for and compared, and in which order. It knows nobody's JSON."""
