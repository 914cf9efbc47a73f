"""AFA (Ru et al., CVPR 2022)."""
