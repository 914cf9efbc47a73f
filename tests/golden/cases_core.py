"""Evaluation, fusion of views, and labels from activation maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from compare import Arrays, Tolerance

from wsss.localise.fusion import RULES, fuse, fuse_strided, multi_scale_cam, seam_infer_norm, summed
from wsss.localise.seeds import band_labels, ignore_outside, present_scores, seed_labels
from wsss.measure.iou import ThresholdCurve, confusion, score


def tensors(inputs: Arrays) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(v) for k, v in inputs.items()}


def numbered(inputs: dict[str, Any], prefix: str) -> list[Any]:
    keys = [k for k in inputs if k.removeprefix(prefix).isdigit() and k.startswith(prefix)]
    return [inputs[k] for k in sorted(keys, key=lambda k: int(k.removeprefix(prefix)))]


def evaluation(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    c = meta["params"]["num_cls"]
    truths = numbered(inputs, "gt_")
    matrix = sum(confusion(t, p, c) for t, p in zip(truths, numbered(inputs, "pred_"), strict=True))
    curve = ThresholdCurve(c, int(meta["params"]["thresholds"].rpartition("..")[2]) + 1)  # i/100 for i in 0..59
    cams = zip(truths, numbered(inputs, "cam_keys_"), numbered(inputs, "cam_"), strict=True)
    for truth, keys, cam in cams:
        curve.update(truth, keys + 1, cam.astype(np.float32))
    s, at = score(matrix), [score(m) for m in curve.matrices()]
    return {
        "iou": s.iou,
        "fp": s.false_positives,
        "fn": s.false_negatives,
        "mIoU": np.float64(100 * s.miou),
        "TP": s.true_positives,
        "P": s.predicted,
        "T": s.true,
        "curve": np.array([100 * a.miou for a in at]),
        "curve_iou": np.array([a.iou for a in at]),
    }


def histogram(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    c, out = meta["params"]["num_classes"], {}
    for suffix in ("", "_pseudo"):
        matrix = confusion(inputs["gt"], inputs["pred" + suffix], c)
        s = score(matrix, absent="skip", ignored_predictions="skip")
        named = {"miou": s.miou, "pAcc": s.pixel_accuracy, "mAcc": s.mean_accuracy, "iou": s.iou}
        out |= {k + suffix: np.asarray(v) for k, v in named.items()}
    return out


def seam(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t = tensors(inputs)
    maps = [m[0, 1:] for m in numbered(t, "netcam_")]
    views = [torch.stack(pair) for pair in zip(maps[::2], maps[1::2], strict=True)]
    total = summed(views, RULES["minmax"], tuple(t["size"].tolist()))
    total, norm = seam_infer_norm(present_scores(total, t["label"][None])[0])
    labels = seed_labels(norm, meta["params"]["out_cam_pred_alpha"])
    keys = t["label"].nonzero()[:, 0]
    return {
        "sum_cam": total.numpy(),
        "norm_cam": norm.numpy(),
        "pred": labels.numpy(),
        "cam_dict_keys": keys.numpy(),
    }


def irn(inputs: Arrays, _meta: dict[str, Any]) -> Arrays:
    t = tensors(inputs)
    added = [torch.stack([m, torch.zeros_like(m)]) for m in numbered(t, "out_")]  # map and mirror were added before
    maps = (added, t["label"] > 0, tuple(t["size"].tolist()), "max")
    keys = t["label"].nonzero()[:, 0]
    return {"strided_cam": fuse_strided(*maps).numpy(), "highres_cam": fuse(*maps).numpy(), "keys": keys.numpy()}


def toco(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t, stride = tensors(inputs), meta["params"]["stride"]

    def stub(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return F.conv2d(x, t["w_aux"], stride=stride), F.conv2d(x, t["w_cam"], stride=stride)

    aux, cam = multi_scale_cam(stub, t["inputs"], meta["params"]["scales"])
    return {"cam": cam.numpy(), "cam_aux": aux.numpy()}


def cam_to_label(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t, p = tensors(inputs), meta["params"]
    valid = present_scores(t["cam"], t["cls"])
    plain = seed_labels(valid, p["bkg_thre"])
    band = band_labels(valid, p["bkg_thre"], p["low_thre"], p["high_thre"])
    return {
        "valid_cam": valid.numpy(),
        "label_nobox": plain.numpy(),
        "label_mid": ignore_outside(band, t["box"]).numpy(),
        "label_nomid": ignore_outside(plain, t["box"]).numpy(),
        "label_ignorebox": ignore_outside(plain, t["box"]).numpy(),
    }


CASES = {
    "eval": evaluation,
    "eval_hist": histogram,
    "seam_infer_norm": seam,
    "irn_cam_norm": irn,
    "toco_multi_scale_cam": toco,
    "toco_cam_to_label": cam_to_label,
}

TOLERANCES = {
    "eval": Tolerance(rtol=1e-9, atol=1e-9),
    "eval_hist": Tolerance(rtol=1e-9, atol=1e-9),
    "seam_infer_norm": Tolerance(rtol=1e-5, atol=2e-6, labels=1e-3),
    "irn_cam_norm": Tolerance(rtol=1e-5, atol=1e-6),
    "toco_multi_scale_cam": Tolerance(rtol=1e-5, atol=2e-6),
    "toco_cam_to_label": Tolerance(rtol=1e-6),
}
