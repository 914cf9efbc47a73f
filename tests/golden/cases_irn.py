"""IRNet (Ahn 2019): paths, affinities, labels, losses, the walk, and the network."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from cases_psa import inner_pairs
from compare import Adapter, Arrays, Tolerance
from formula import formula_state_dict, published_shapes

from stencils import flat_indices
from wsss.backbones.checkpoints import load_published
from wsss.backbones.irn_resnet import IRNResNet
from wsss.refine.affinitynet.network import affinity_costs, pair_labels
from wsss.refine.irnet.network import (
    IRNet,
    displacement_costs,
    irnet_losses,
    relative_scores,
    walk_to_boundary,
)
from wsss.refine.irnet.paths import boundary_affinity, path_offsets, search_paths
from wsss.refine.irnet.training import sample_labels


def irn_paths(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    out: Arrays = {}
    for radius in map(int, meta["params"]):
        out |= _paths(radius, inputs[f"size_r{radius}"].tolist())
    return out


def _paths(radius: int, size: list[int]) -> Arrays:
    paths, offsets = search_paths(radius), path_offsets(radius)
    lengths = np.array([len(path) for path in paths], np.int32)
    padded = np.full((len(paths), lengths.max(), 2), -999, np.int32)
    for row, path in zip(padded, paths, strict=True):
        row[: len(path)] = path
    out: Arrays = {
        "search_paths": padded,
        "path_lengths": lengths,
        "search_dst": offsets.numpy(),
        "src_indices": flat_indices(offsets, torch.zeros(2, dtype=torch.int64), *size).numpy(),
        "dst_indices": flat_indices(offsets, offsets, *size).numpy(),
    }
    for group, length in enumerate(np.unique(lengths)):
        same = torch.stack([path for path in paths if len(path) == length])
        out[f"path_indices_g{group}"] = flat_indices(offsets, same, *size).numpy()
    return {re.sub(r"(_g\d+)?$", rf"_r{radius}\1", name, count=1): array for name, array in out.items()}


def irn_edge_to_affinity(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    radius = meta["params"]["radius"]
    affinity = boundary_affinity(torch.from_numpy(inputs["edge"])[:, 0], radius)
    return {"aff": inner_pairs(affinity, path_offsets(radius))}


def irn_affinity_labels(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    offsets = path_offsets(meta["params"]["radius"])
    kinds = pair_labels(torch.from_numpy(inputs["label"])[None], offsets)
    names = ("bg", "fg", "neg")
    return {n: inner_pairs(k[0], offsets).astype(np.uint8) for n, k in zip(names, kinds, strict=True)}


def irn_label_rescale(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    (grid, _dtype) = meta["shapes"]["out_label"]
    return {"label": sample_labels(torch.from_numpy(inputs["label"])[None], grid)[0].numpy()}


def irn_propagate(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    params = meta["params"]
    cams, edge = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["edge"])[0]
    walk = {"radius": params["radius"], "beta": params["beta"], "steps": 2 ** params["exp_times"]}
    (walked,) = walk_to_boundary([cams], edge[None], **walk)
    scores = relative_scores(walked, 4, inputs["size"].tolist(), params["sem_seg_bg_thres"])
    return {
        "rw": walked[:, None].numpy(),
        "label": inputs["keys"].astype(np.uint8)[scores.argmax(0).numpy()],
    }


def irn_losses(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    radius, eps = meta["params"]["radius"], meta["params"]["eps"]
    offsets = path_offsets(radius)
    logits = torch.from_numpy(inputs["edge"]).requires_grad_()
    displacement = torch.from_numpy(inputs["dp"]).requires_grad_()
    labels = pair_labels(torch.from_numpy(inputs["label"]), offsets, inner=True)
    losses = irnet_losses(logits[:, 0], displacement, labels, radius, eps)
    total = sum(losses.values())
    total.backward()
    with torch.no_grad():
        attract, repel = affinity_costs(boundary_affinity(torch.sigmoid(logits[:1, 0]), radius), eps)
        foreground, background = displacement_costs(displacement[:1], offsets)
    maps = {"pos_map0": attract, "neg_map0": repel, "dp_fg_map0": foreground, "dp_bg_map0": background}
    scalars = {
        "bg_pos_aff_loss": 4 * losses["background"],
        "fg_pos_aff_loss": 4 * losses["foreground"],
        "neg_aff_loss": 2 * losses["different"],
        "dp_fg_loss": 2 * losses["displacement_foreground"],
        "dp_bg_loss": 2 * losses["displacement_background"],
        "total_loss": total,
    }
    return (
        {name: inner_pairs(value[0], offsets) for name, value in maps.items()}
        | {name: value.detach().numpy() for name, value in scalars.items()}
        | {"grad_edge": logits.grad.numpy(), "grad_dp": displacement.grad.numpy()}
    )


def net_irn_edge(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    crop_size = int(re.search(r"crop_size=(\d+)", meta["source"])[1])
    net = IRNet(IRNResNet(), crop_size=crop_size).eval()
    load_published(net, formula_state_dict(published_shapes("irn_EdgeDisplacement")))
    boundary, displacement = net.infer(torch.from_numpy(inputs["x"][:1]))
    return {"edge": boundary.numpy(), "dp": displacement[0].numpy()}


CASES: dict[str, Adapter] = {
    "irn_paths": irn_paths,
    "irn_edge_to_affinity": irn_edge_to_affinity,
    "irn_affinity_labels": irn_affinity_labels,
    "irn_label_rescale": irn_label_rescale,
    "irn_propagate": irn_propagate,
    "irn_losses": irn_losses,
    "net_irn_edge": net_irn_edge,
}

TOLERANCES: dict[str, Tolerance] = {
    "irn_paths": Tolerance(),
    "irn_edge_to_affinity": Tolerance(1e-6, 1e-6),
    "irn_affinity_labels": Tolerance(),
    "irn_label_rescale": Tolerance(),
    "irn_propagate": Tolerance(1e-4, 1e-4, labels=0.001),
    "irn_losses": Tolerance(1e-4, 1e-5, rel_l2=1e-4, own={"_loss": Tolerance(1e-5)}),
    "net_irn_edge": Tolerance(1e-4, 1e-4),
}
