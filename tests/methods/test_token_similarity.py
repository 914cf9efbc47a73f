"""The measure of over-smoothing against pairs counted one by one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks are run from the project's root
from benchmarks.similarity import mean_similarity


def test_the_mean_is_over_pairs_of_different_tokens():
    tokens = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    cosines = [abs(float(tokens[i] @ tokens[j] / tokens[i].norm() / tokens[j].norm())) for i, j in pairs]
    assert mean_similarity(tokens) == pytest.approx(sum(cosines) / len(pairs))
    assert mean_similarity(torch.ones(4, 3)) == pytest.approx(1)
    assert mean_similarity(torch.eye(4)) == pytest.approx(0, abs=1e-6)
