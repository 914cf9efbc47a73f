"""Properties of propagation over an image's cells."""

from __future__ import annotations

import numpy as np
import pytest

from wsss.refine.propagation.graph import cell_centres, cell_graph, laplacian
from wsss.refine.propagation.solve import label_propagation

GRID = (7, 9)


@pytest.fixture
def image() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    feats = np.abs(rng.normal(size=(63, 16)))
    return feats / np.linalg.norm(feats, axis=1, keepdims=True), cell_centres(GRID, 16), rng.random((63, 3))


def test_sparse_equals_dense(image) -> None:
    feats, centres, scores = image
    dense, sparse = (cell_graph(feats, centres, neighbours=12, dense_cells=cells) for cells in (63, 62))
    assert not isinstance(sparse, np.ndarray)
    np.testing.assert_allclose(sparse.toarray(), dense, atol=1e-12)
    np.testing.assert_allclose(label_propagation(sparse, scores), label_propagation(dense, scores), rtol=1e-9)


def test_order_of_cells_does_not_matter(image) -> None:
    feats, centres, scores = image
    order = np.random.default_rng(1).permutation(63)
    moved = label_propagation(cell_graph(feats[order], centres[order], neighbours=12), scores[order])
    np.testing.assert_allclose(
        moved, label_propagation(cell_graph(feats, centres, neighbours=12), scores)[order], rtol=1e-6
    )


def test_root_of_degree_is_only_scaled() -> None:
    """W has √degree as eigenvector of 1: a constant, where all cells are alike and equally connected."""
    feats = np.ones((20, 1))
    graph = cell_graph(feats, np.zeros((20, 2)), neighbours=20)
    np.testing.assert_allclose(label_propagation(graph, np.ones((20, 1)), alpha=0.9), 10, rtol=1e-9)


def test_alpha_0_changes_nothing_and_1_is_refused(image) -> None:
    feats, centres, scores = image
    graph = cell_graph(feats, centres)
    np.testing.assert_allclose(label_propagation(graph, scores, alpha=0), scores)
    with pytest.raises(ValueError, match="alpha 1"):
        laplacian(graph, 1)


def test_many_steps_of_conjugate_gradients_reach_the_solution(image) -> None:
    feats, centres, scores = image
    graph = cell_graph(feats, centres, neighbours=12)
    exact = label_propagation(graph, scores)
    far, near = (np.abs(label_propagation(graph, scores, steps=n) - exact).max() for n in (10, 200))
    assert near < 1e-4 * exact.max() and near < far
