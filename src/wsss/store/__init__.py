"""The HDF5 files of label and score maps, and model files: write, read, merge."""
