"""How close an output has to come to the published implementation's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Adapter = Callable[[Arrays, dict[str, Any]], Arrays]

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Tolerance:
    """np.allclose bounds; integer outputs must be equal but for `labels`, the allowed fraction of differing pixels.

    `rel_l2`: outputs whose name starts with one of `rel_l2_names` are compared by ‖a−b‖/‖b‖ instead.
    `own`: another tolerance for outputs whose name ends in its key. `floor`: expected values below it count as it.
    """

    rtol: float = 0.0
    atol: float = 0.0
    labels: float = 0.0
    rel_l2: float | None = None
    rel_l2_names: tuple[str, ...] = ("grad",)
    own: Mapping[str, Tolerance] = field(default_factory=dict)
    floor: float = -np.inf

    def of(self, name: str) -> Tolerance:
        """The tolerance of one output."""
        return next((own for end, own in self.own.items() if name.endswith(end)), self)


def load_case(name: str) -> tuple[Arrays, dict[str, Any], Arrays]:
    """Inputs, meta and expected outputs of a case, prefixes removed."""
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as z:
        meta = json.loads(str(z["meta"]))
        inputs = {k[3:]: z[k] for k in z.files if k.startswith("in_")}
        outputs = {k[4:]: z[k] for k in z.files if k.startswith("out_")}
    return inputs, meta, outputs


def assert_matches(actual: Arrays, expected: Arrays, tolerance: Tolerance) -> None:
    """Every claimed output exists in the case, has its shape, and lies within tolerance."""
    assert actual, "the adapter claims no output"
    for name, got in actual.items():
        want, tol = expected[name], tolerance.of(name)
        got = np.asarray(got)
        assert got.shape == want.shape, f"{name}: shape {got.shape}, expected {want.shape}"
        if np.issubdtype(want.dtype, np.integer) or want.dtype == bool:
            share = float(np.mean(got != want)) if want.size else 0.0
            assert share <= tol.labels, f"{name}: {share:.3%} of the entries differ, allowed {tol.labels:.3%}"
        elif tol.rel_l2 is not None and name.startswith(tol.rel_l2_names):
            error = np.linalg.norm(got.astype(np.float64) - want) / max(np.linalg.norm(want), 1e-300)
            assert error <= tol.rel_l2, f"{name}: relative L2 error {error:.2e}, allowed {tol.rel_l2:.0e}"
        else:
            np.testing.assert_allclose(got, np.maximum(want, tol.floor), rtol=tol.rtol, atol=tol.atol, err_msg=name)
