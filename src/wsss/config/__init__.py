"""Settings of a run: sections, registries of components, loading with presets, error messages."""
