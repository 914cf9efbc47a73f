"""Propagation over a graph: solves (I − αW) x = y for all classes of an image (LPOSS, Stojnić et al. 2025, eq. 4)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import splu

from wsss.refine.propagation.graph import laplacian


def propagate(
    graph: np.ndarray | sp.csr_array, scores: np.ndarray, *, alpha: float = 0.95, steps: int | None = None
) -> np.ndarray:
    """Propagated scores (N, K) float64 of scores (N, K) over a normalised graph (N, N).

    steps: None: exact solution, by one factorisation for all classes; a number: that many conjugate gradient steps from
    0. The 10 steps of the published code do not converge.
    """
    system, y = laplacian(graph, alpha), scores.astype(np.float64)
    if steps is not None:
        return np.stack([conjugate_gradient(system, column, steps) for column in y.T], axis=1)
    if sp.issparse(system):
        return splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(y)
    return cho_solve(cho_factor(system, lower=True), y)


def conjugate_gradient(
    system: np.ndarray | sp.csc_array, y: np.ndarray, steps: int, tolerance: float = 1e-6
) -> np.ndarray:
    """At most `steps` conjugate gradient steps from 0 for one right-hand side (N,); stops at |r| ≤ tolerance · |y|."""
    x, residual = np.zeros_like(y), y.copy()
    direction, square = residual.copy(), residual @ residual
    for _ in range(steps):
        if np.sqrt(square) <= tolerance * np.linalg.norm(y):
            break
        image = system @ direction
        length = square / (direction @ image)
        x, residual = x + length * direction, residual - length * image
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    return x
