"""The steps of a run and their identity (manifest and key)."""
