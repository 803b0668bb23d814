"""What needs a person: gathered from the tables for `qbo-writer status`, /health/ready and metrics, told as events."""
