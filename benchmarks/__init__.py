"""Times wsss against the published algorithms written plainly: `python -m benchmarks`."""
