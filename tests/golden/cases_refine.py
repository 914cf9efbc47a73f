"""DenseCRF, PAR, PAMR and ToCo's dense energy loss against the published implementations."""

from __future__ import annotations

from typing import Any

from compare import Adapter, Arrays, Tolerance

from wsss.refine.crf import CRFParams, crf_probabilities


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


CASES: dict[str, Adapter] = {"crf_soft": crf_soft}
TOLERANCES: dict[str, Tolerance] = {"crf_soft": Tolerance(rtol=1e-4, atol=1e-4)}
