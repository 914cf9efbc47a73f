"""Data sets: the table of images and labels, sources, annotation formats, reading, checks, augmentation, splits."""
