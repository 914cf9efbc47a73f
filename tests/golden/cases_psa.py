"""AffinityNet (Ahn & Kwak 2018): affinities, labels, loss and random walk."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from compare import Adapter, Arrays, Tolerance
from torch import Tensor

from stencils import dense_to_stencil, flat_indices, stencil_to_dense
from wsss.refine.affinitynet.network import (
    PairLabels,
    kind_counts,
    pair_affinity,
    pair_labels,
    pair_losses,
    pool_confident_labels,
    pool_with_background,
    upsample_scores,
)
from wsss.refine.affinitynet.settings import Settings
from wsss.refine.affinitynet.walk import walk_cams
from wsss.refine.walk import (
    half_plane_offsets,
    inner_cells,
    near_offsets,
    pair_mask,
)


def inner_pairs(stencil: Tensor, offsets: Tensor) -> np.ndarray:
    """Published layout (…, O, M) of a stencil (…, O, h, w)."""
    return stencil[..., *inner_cells(offsets, *stencil.shape[-2:])].flatten(-2).numpy()


def _pairs_of_features(features: np.ndarray, offsets: Tensor, suffix: str) -> Arrays:
    affinity = pair_affinity(torch.from_numpy(features), offsets)
    size = affinity.shape[-2:]
    published = affinity[:1] * pair_mask(offsets, *size, inner=True)
    return {
        f"aff{suffix}": inner_pairs(affinity, offsets),
        f"aff_dense{suffix}": stencil_to_dense(published, offsets)[0].numpy(),
        f"ind_from{suffix}": flat_indices(offsets, torch.zeros(2, dtype=torch.int64), *size).numpy(),
        f"ind_to{suffix}": flat_indices(offsets, offsets, *size).flatten().numpy(),
    }


def psa_affinity(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    """The small grid's pairs are SEAM's, which PSA's network does not have."""
    offsets = half_plane_offsets(meta["params"]["radius"])
    near = offsets[near_offsets(offsets, *inputs["x_small"].shape[-2:])]
    return _pairs_of_features(inputs["x"], offsets, "") | _pairs_of_features(inputs["x_small"], near, "_small")


def psa_randomwalk(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    params, (height, width) = meta["params"], inputs["size"].tolist()
    stride, alpha, steps = params["stride"], params["alpha"], 2 ** params["logt"]
    walk = Settings(method="affinitynet", alpha=alpha, beta=params["beta"], steps=steps)
    grid = -(-height // stride), -(-width // stride)
    cams, offsets = torch.from_numpy(inputs["cams"]), half_plane_offsets(5)
    affinity = dense_to_stencil(torch.from_numpy(inputs["aff_mat"])[None], offsets, *grid)
    channels = [0, *(inputs["keys"] + 1).tolist()]
    pooled = pool_with_background(cams, alpha, stride)
    (walked,) = walk_cams([cams], affinity, offsets, stride, walk)
    scores = upsample_scores(walked, stride, (height, width))
    return {
        "cam_pooled": _in_channels(pooled, channels),
        "cam_rw": _in_channels(walked, channels),
        "pred": np.array(channels, np.uint8)[scores.argmax(0).numpy()],
    }


def _in_channels(scores: Tensor, channels: list[int], classes: int = 21) -> np.ndarray:
    full = np.zeros((classes, *scores.shape[1:]), np.float32)
    full[channels] = scores.numpy()
    return full


def psa_affinity_labels(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    offsets = half_plane_offsets(meta["params"]["radius"])
    low, high = torch.from_numpy(inputs["scores"]).permute(2, 0, 1).chunk(2)
    label = torch.from_numpy(inputs["label"])
    from_scores = pool_confident_labels(low, high, stride=1)
    out: Arrays = {"label_from_scores": from_scores.numpy()}
    for suffix, labels in (("", label), ("2", from_scores)):
        for name, kind in zip(("bg", "fg", "neg"), pair_labels(labels[None], offsets), strict=True):
            out[name + suffix] = inner_pairs(kind[0], offsets).astype(np.uint8)
    return out


def psa_aff_loss(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    affinity = torch.from_numpy(inputs["aff"]).requires_grad_()
    labels = PairLabels(*(torch.from_numpy(inputs[name]) for name in ("bg", "fg", "neg")))
    losses = pair_losses(affinity, labels, eps=meta["params"]["eps"])
    total = sum(losses.values())
    total.backward()
    names = ("loss", "bg_loss", "fg_loss", "neg_loss", "bg_count", "fg_count", "neg_count")
    means = [4 * losses["background"], 4 * losses["foreground"], 2 * losses["different"]]
    values = (total, *means, *kind_counts(labels, meta["params"]["eps"]))
    return {n: v.detach().numpy() for n, v in zip(names, values, strict=True)} | {"grad_aff": affinity.grad.numpy()}


CASES: dict[str, Adapter] = {
    "psa_affinity": psa_affinity,
    "psa_randomwalk": psa_randomwalk,
    "psa_affinity_labels": psa_affinity_labels,
    "psa_aff_loss": psa_aff_loss,
}

TOLERANCES: dict[str, Tolerance] = {
    "psa_affinity": Tolerance(1e-5, 1e-6),
    "psa_randomwalk": Tolerance(1e-4, 5e-5, labels=0.001),
    "psa_affinity_labels": Tolerance(),
    "psa_aff_loss": Tolerance(1e-5, 1e-7),
}
