"""Local stand-ins for QuickBooks, 4D EMR and Google Sheets, and the embedded stack."""
