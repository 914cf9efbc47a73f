"""From maps to better maps: affinity networks, random walks, propagation, DenseCRF, PAR, mask proposals."""
