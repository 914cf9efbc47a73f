"""Segmentation networks, their training and their inference."""
