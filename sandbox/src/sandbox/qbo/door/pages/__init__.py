"""The pages at `/`: the books of every company, and forms to play the bookkeeper."""
