"""What people do and see: the commands, reports and the ways out."""
