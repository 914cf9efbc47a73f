"""Files, locks, devices, processes, progress, tensors: what every room may use."""
