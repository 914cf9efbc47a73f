"""ACR (Sun et al., CVPR 2023)."""
