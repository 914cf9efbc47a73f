"""CLIP-ES: Lin et al., "CLIP is Also an Efficient Segmenter", CVPR 2023."""
