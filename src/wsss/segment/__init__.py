"""Segmentation networks and their test-time inference."""
