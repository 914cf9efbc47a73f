"""IRNet (Ahn et al., CVPR 2019)."""
