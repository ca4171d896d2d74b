"""What update-all knows about each tool, and how that knowledge is found and loaded."""
