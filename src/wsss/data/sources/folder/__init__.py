"""A folder of images and a CSV of labels."""
