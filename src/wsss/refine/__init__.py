"""From maps to better maps: affinity networks, random walks, DenseCRF, PAR."""
