"""4D EMR quotes become invoice commands."""
