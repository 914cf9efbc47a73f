"""DenseCRF, PAR, PAMR and ToCo's dense energy loss against the published implementations."""

from __future__ import annotations

from typing import Any

import torch
from compare import Adapter, Arrays, Tolerance

from wsss.refine.crf import CRFParams, crf_probabilities
from wsss.refine.par import pamr, par


def crf_params(p: dict[str, Any]) -> CRFParams:
    gaussian, bilateral = p["gaussian"], p["bilateral"]
    return CRFParams(
        gaussian_sxy=gaussian["sxy"],
        gaussian_weight=gaussian["compat"],
        bilateral_sxy=bilateral["sxy"],
        bilateral_srgb=bilateral["srgb"],
        bilateral_weight=bilateral["compat"],
        steps=p["t"],
    )


def crf_soft(x: Arrays, meta: dict[str, Any]) -> Arrays:
    return {"Q": crf_probabilities(x["image"], x["probs"], crf_params(meta["params"]))}


def par_masks(x: Arrays, meta: dict[str, Any]) -> Arrays:
    p = meta["params"]
    images, masks = torch.from_numpy(x["imgs"]), torch.from_numpy(x["masks"])
    settings = {"sharpness": p["w1"], "position_weight": p["w2"]}
    full = {"dilations": p["dilations"], "iterations": p["num_iter"], **settings}
    return {
        "masks": par(images, masks, **full).numpy(),
        "masks_01": par(images / 255, masks, **full).numpy(),
        "masks_small": par(images, masks, dilations=[1, 2], iterations=1, **settings).numpy(),
    }


def pamr_masks(x: Arrays, meta: dict[str, Any]) -> Arrays:
    p = meta["params"]
    images, masks = torch.from_numpy(x["imgs"]), torch.from_numpy(x["masks"])
    return {
        "masks": pamr(images, masks, p["dilations"], p["num_iter"]).numpy(),
        "masks_small": pamr(images / 255, masks, [1], 1).numpy(),
    }


CASES: dict[str, Adapter] = {"crf_soft": crf_soft, "par": par_masks, "pamr": pamr_masks}
TOLERANCES: dict[str, Tolerance] = {
    "crf_soft": Tolerance(rtol=1e-4, atol=1e-4),
    "par": Tolerance(rtol=1e-4, atol=5e-6),
    "pamr": Tolerance(rtol=1e-4, atol=1e-5),
}
