"""Segmentation networks and their inference."""
