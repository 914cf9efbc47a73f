"""A real Slurm for the tests of this folder."""

from __future__ import annotations

import pytest
from cluster import cluster, why_not


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A running Slurm of two nodes; skips where there can be none."""
    if reason := why_not():
        pytest.skip(f"Slurm is not tested here: {reason}")
    with cluster(tmp_path_factory.mktemp("slurm")):
        yield
