"""ToCo (Ru et al., CVPR 2023)."""
