"""Posts commands to QuickBooks as documents, exactly once."""
