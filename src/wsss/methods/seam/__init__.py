"""SEAM (Wang et al., CVPR 2020)."""
