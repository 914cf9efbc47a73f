"""Propagation over a graph: solves (I − αW) x = y for all classes of an image (LPOSS, Stojnić et al. 2025, eq. 4)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import splu

from wsss.refine.propagation.graph import laplacian


def label_propagation(graph: np.ndarray | sp.csr_array, scores: np.ndarray, *, alpha: float = 0.95) -> np.ndarray:
    """Propagated scores (N, K) float64 of scores (N, K) over a normalised graph (N, N).

    The solution is exact, by one factorisation for all classes; the published code takes 10 steps of conjugate
    gradients, which do not converge.
    """
    system, y = laplacian(graph, alpha), scores.astype(np.float64)
    if sp.issparse(system):
        return splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(y)
    return cho_solve(cho_factor(system, lower=True), y)
