"""The posting protocol: what is decided, sent, looked up and compared, in which order. It knows no JSON format."""
