"""The data set's table, reading images, augmentation, splits."""
