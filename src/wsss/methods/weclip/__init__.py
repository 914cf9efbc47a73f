"""WeCLIP (Zhang et al., CVPR 2024) and WeCLIP+ (2025): a decoder on frozen towers that refines its own labels."""
