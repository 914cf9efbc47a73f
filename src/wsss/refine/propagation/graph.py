"""Graph of an image's cells, by similarity of features and by distance (LPOSS, Stojnić et al. 2025, §3.2)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

DENSE_CELLS = 4000


def cell_centres(grid: tuple[int, int], cell: float) -> np.ndarray:
    """Centres of a grid's cells, row by row: (h·w, 2) as (y, x) in pixels."""
    y, x = (cell / 2 + cell * np.arange(n) for n in grid)
    return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)


def cell_graph(
    features: np.ndarray,
    centres: np.ndarray,
    *,
    neighbours: int = 50,
    power: float = 3.0,
    distance: float = 0.01,
    dense_cells: int = DENSE_CELLS,
) -> np.ndarray | sp.csr_array:
    """Normalised adjacency matrix D^−½ W D^−½ (N, N), zero diagonal; dense up to `dense_cells` cells, else sparse.

    features: (N, D) of unit length; centres: (N, 2) pixels. W = S + Sᵀ, S = max(cos, 0)^power · exp(−distance · pixels)
    for the `neighbours` most similar cells of each cell, itself included (at most N), and 0 otherwise.
    """
    if len(features) != len(centres):
        raise ValueError(f"{len(features)} features for {len(centres)} cell centres: one each is needed")
    n, taken = len(features), min(neighbours, len(features))
    feats = features.astype(np.float32)
    cols, cosines = np.empty((n, taken), np.int64), np.empty((n, taken))
    for start in range(0, n, 1024):
        rows = slice(start, min(start + 1024, n))
        similar = feats[rows] @ feats.T
        cols[rows] = np.argpartition(-similar, taken - 1, axis=1)[:, :taken]
        cosines[rows] = np.take_along_axis(similar, cols[rows], axis=1)
    far = np.linalg.norm(centres[:, None] - centres[cols], axis=-1)
    weights = np.maximum(cosines, 0) ** power * np.exp(-distance * far)
    index = np.repeat(np.arange(n), taken)
    return normalised(sp.csr_array((weights.ravel(), (index, cols.ravel())), (n, n)), dense=n <= dense_cells)


def normalised(one_sided: sp.csr_array, *, dense: bool) -> np.ndarray | sp.csr_array:
    """D^−½ (S + Sᵀ) D^−½ without diagonal; a cell without neighbours keeps an empty row."""
    weights = (one_sided + one_sided.T).tocoo()
    off = weights.row != weights.col
    weights = sp.csr_array((weights.data[off], (weights.row[off], weights.col[off])), one_sided.shape)
    degree = np.asarray(weights.sum(axis=1)).ravel()
    scale = 1 / np.sqrt(np.where(degree > 0, degree, 1))
    graph = sp.csr_array(sp.diags_array(scale) @ weights @ sp.diags_array(scale))
    return graph.toarray() if dense else graph


def laplacian(graph: np.ndarray | sp.csr_array, alpha: float) -> np.ndarray | sp.csc_array:
    """I − αW, (N, N): positive definite for 0 ≤ α < 1, since the eigenvalues of W are in [−1, 1]."""
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha {alpha} is given; 0 ≤ alpha < 1 makes I − αW positive definite")
    if sp.issparse(graph):
        return sp.csc_array(sp.eye_array(graph.shape[0]) - alpha * graph)
    return np.eye(len(graph)) - alpha * graph
