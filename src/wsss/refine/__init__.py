"""Refinement of class activation maps: affinities, random walks, DenseCRF, PAR."""
