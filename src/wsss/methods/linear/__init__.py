"""A linear classifier on features of a frozen network."""
