"""Data sets: readers that make the one table every later stage sees, and augmentation."""
