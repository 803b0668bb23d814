"""What operators use: commands, reports and manual remedies."""
