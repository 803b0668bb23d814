"""The embedded stack: Postgres from a wheel, a Kafka broker, and a supervisor for the processes that use them."""
