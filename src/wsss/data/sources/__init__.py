"""Sources of images and labels: one folder per kind."""
