"""Label propagation over the features of a frozen network (LPOSS, Stojnić et al. 2025); nothing is trained."""
