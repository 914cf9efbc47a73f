"""The product's blocks against the published implementations' outputs."""

from __future__ import annotations

import pytest
from adapters import CASES, TOLERANCES
from compare import assert_matches, load_case


def _cases():
    for name in sorted(CASES):
        yield pytest.param(
            name, marks=[pytest.mark.slow, pytest.mark.timeout(900)] if name.startswith("whole_") else []
        )


@pytest.mark.parametrize("name", _cases())
def test_matches_published_output(name):
    inputs, meta, expected = load_case(name)
    assert_matches(CASES[name](inputs, meta), expected, TOLERANCES[name])
