"""What one read of the sheet leads to: keys, documents, deletions, outcomes, cells, a module for each. It carries nothing out."""
