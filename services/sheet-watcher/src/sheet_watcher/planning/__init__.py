"""Plans what follows from one read of the sheet: keys, documents, deletions, results and cells, each in its module. Pure."""
