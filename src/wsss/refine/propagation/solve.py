"""Propagation over a graph: solves (I − αW) x = y for all classes of an image (LPOSS, Stojnić et al. 2025, eq. 4)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import cg, splu

from wsss.refine.propagation.graph import laplacian

TOLERANCE = 1e-6
"""Relative residual at which conjugate gradients stop."""


def label_propagation(
    graph: np.ndarray | sp.csr_array, scores: np.ndarray, *, alpha: float = 0.95, steps: int | None = None
) -> np.ndarray:
    """Propagated scores (N, K) float64 of scores (N, K) over a normalised graph (N, N).

    steps: of conjugate gradients from 0, for each class (published: 10, which do not converge); None: the exact
    solution, by one factorisation for all classes.
    """
    system, y = laplacian(graph, alpha), scores.astype(np.float64)
    if steps is not None:
        return np.stack([cg(system, column, rtol=TOLERANCE, maxiter=steps)[0] for column in y.T], 1)
    if sp.issparse(system):
        return splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(y)
    return cho_solve(cho_factor(system, lower=True), y)
