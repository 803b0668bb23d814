"""Commands become QuickBooks documents, exactly once."""
