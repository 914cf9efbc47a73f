"""Files that label maps are written to for other tools: one folder a format."""
