"""Golden cases of LPOSS: propagation over the graph of an image's cells."""

from __future__ import annotations

import numpy as np
from compare import Adapter, Tolerance

from wsss.refine.propagation.graph import cell_centres, cell_graph, laplacian
from wsss.refine.propagation.solve import label_propagation


def _graph(feats: np.ndarray, centres: np.ndarray, params: dict) -> np.ndarray:
    return cell_graph(
        feats, centres, neighbours=params["k"], power=params["gamma"], distance=params["sigma"], dense_cells=len(feats)
    )


def lposs_dense(inputs: dict, meta: dict) -> dict:
    params = meta["params"]
    alpha, cell = params["alpha"], params["patch_size"]
    graph = _graph(inputs["feats"], cell_centres(params["grid"], cell), params)
    return {
        "laplacian": laplacian(graph, alpha),
        "exact": label_propagation(graph, inputs["scores"], alpha=alpha),
        "cg": label_propagation(graph, inputs["scores"], alpha=alpha, steps=params["cg_steps"]),
    }


CASES: dict[str, Adapter] = {"lposs_dense": lposs_dense}
TOLERANCES: dict[str, Tolerance] = {
    "lposs_dense": Tolerance(rtol=1e-4, atol=1e-4, own={"laplacian": Tolerance(rtol=1e-4, atol=5e-6)})
}
