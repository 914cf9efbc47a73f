"""The tiny run, made once and shared by the tests."""

from __future__ import annotations

import pytest

from tiny import TINY, Project


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Project:
    """The finished tiny run."""
    project = Project(tmp_path_factory.mktemp("tiny"), TINY)
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-3000:]
    return project
