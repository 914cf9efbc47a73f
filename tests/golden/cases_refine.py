"""DenseCRF, PAR, PAMR and ToCo's dense energy loss against the published implementations."""

from __future__ import annotations

from typing import Any

import torch
from compare import Adapter, Arrays, Tolerance

from wsss.config.sections import CRF
from wsss.localise.seeds import seed_labels
from wsss.refine.crf.dense import crf_marginal_group
from wsss.refine.crf.energy import bilateral_filter, dense_energy, dense_energy_loss, grey_levels
from wsss.refine.irnet.labels import confident_label_group
from wsss.refine.irnet.settings import Labels
from wsss.refine.par import pamr, par
from wsss.runtime.tensors import box_mask
from wsss.store.maps import ScoreMap

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def crf_params(p: dict[str, Any]) -> CRF:
    gaussian, bilateral = p["gaussian"], p["bilateral"]
    return CRF(
        gaussian_sxy=gaussian["sxy"],
        gaussian_weight=gaussian["compat"],
        bilateral_sxy=bilateral["sxy"],
        bilateral_srgb=bilateral["srgb"],
        bilateral_weight=bilateral["compat"],
        steps=p["t"],
    )


def crf_soft(x: Arrays, meta: dict[str, Any]) -> Arrays:
    return {"Q": crf_marginal_group([x["image"]], [x["probs"]], crf_params(meta["params"]))[0]}


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


def irn_conf_label(x: Arrays, meta: dict[str, Any]) -> Arrays:
    p = meta["params"]
    cams = torch.from_numpy(x["highres_cam"])
    high, low, crf = p["conf_fg_thres"], p["conf_bg_thres"], p["crf"]
    maps = ScoreMap(x["keys"] + 1, x["highres_cam"])
    thresholds = {"foreground_threshold": high, "background_threshold": low}
    settings = Labels(method="irnet", crf=crf_params(crf), gt_prob=crf["gt_prob"], **thresholds)
    (labels,) = confident_label_group([x["image"]], [maps], settings)
    return {
        "fg_label": seed_labels(cams, high).numpy(),
        "bg_label": seed_labels(cams, low).numpy(),
        "fg_conf": labels.foreground.numpy(),
        "bg_conf": labels.background.numpy(),
        "conf": labels.combined.numpy(),
    }


def energy_with_kernel(x: Arrays, p: dict[str, Any], kernel: str) -> Arrays:
    settings = {name: p[name] for name in ("sigma_rgb", "sigma_xy", "weight")}
    settings |= {"scale": p["scale_factor"], "kernel": kernel}
    norm, label, box = (torch.from_numpy(x[name]) for name in ("norm", "label", "box"))

    logit = torch.from_numpy(x["logit"]).requires_grad_()
    loss = dense_energy_loss(norm, logit, label, box, IMAGENET_MEAN, IMAGENET_STD, **settings)
    loss.backward()

    images, roi = grey_levels(norm, IMAGENET_MEAN, IMAGENET_STD), box_mask(box, norm.shape[-2:])
    prob = logit.detach().softmax(1).requires_grad_()
    dense_energy(images, prob, label, roi, **settings).backward()

    filter_inputs = torch.from_numpy(x["filter_img"]), torch.from_numpy(x["filter_in"])
    sigmas = p["sigma_xy"] * p["scale_factor"], p["sigma_rgb"]
    return {
        "loss": loss.detach().reshape(1).numpy(),
        "grad_logit": logit.grad.numpy(),
        "grad_prob": prob.grad.numpy(),
        "filter": bilateral_filter(*filter_inputs, *sigmas, kernel).numpy(),
    }


def toco_energy_loss(x: Arrays, meta: dict[str, Any]) -> Arrays:
    lattice = energy_with_kernel(x, meta["params"], "lattice")
    exact = energy_with_kernel(x, meta["params"], "exact")
    return lattice | {f"{name}_exact": value for name, value in exact.items()}


CASES: dict[str, Adapter] = {
    "crf_soft": crf_soft,
    "irn_conf_label": irn_conf_label,
    "par": par_masks,
    "pamr": pamr_masks,
    "toco_energy_loss": toco_energy_loss,
}
TOLERANCES: dict[str, Tolerance] = {
    "crf_soft": Tolerance(rtol=1e-4, atol=1e-4),
    "irn_conf_label": Tolerance(labels=1e-3),
    "par": Tolerance(rtol=1e-4, atol=5e-6),
    "pamr": Tolerance(rtol=1e-4, atol=1e-5),
    "toco_energy_loss": Tolerance(rtol=1e-4, rel_l2=1e-4, rel_l2_names=("grad", "filter")),
}
