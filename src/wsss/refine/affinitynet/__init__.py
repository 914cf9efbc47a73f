"""AffinityNet (Ahn & Kwak, CVPR 2018)."""
