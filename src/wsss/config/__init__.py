"""A run's settings: common sections, loading with presets, messages on mistakes."""
