"""Class activation maps (Zhou et al., CVPR 2016)."""
