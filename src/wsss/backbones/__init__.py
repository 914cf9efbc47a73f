"""Backbones of classifiers and segmentation networks, and loading of published weights."""
