"""`/control`, for tests and the demo: the project's settings and state, and a person's actions in the sheet."""
