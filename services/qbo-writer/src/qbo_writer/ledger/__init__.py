"""What the writer remembers: all SQL, a module for each family of tables, and what they hold as values."""
