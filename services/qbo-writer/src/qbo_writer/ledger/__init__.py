"""The writer's ledger: all SQL, one module for each family of tables, and the values that they hold."""
