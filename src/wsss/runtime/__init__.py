"""Shared utilities without science: files, locks, devices, processes, progress, tensors."""
