"""What every bookrelay service shares."""
