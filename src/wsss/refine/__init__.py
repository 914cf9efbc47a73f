"""Refinement of score maps: affinity networks, random walks, propagation, DenseCRF, PAR, mask proposals."""
