"""HDF5 files of label maps, score maps and features, and model files: write, read, merge."""
