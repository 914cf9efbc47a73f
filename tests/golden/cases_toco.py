"""ToCo's blocks and network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cases_core import numbered
from compare import Adapter, Arrays, Tolerance
from formula import formula_state_dict, published_shapes
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from wsss.backbones.checkpoints import load_published
from wsss.backbones.vit import ViTBackbone
from wsss.backbones.vit_checkpoints import VIT_LAYOUTS
from wsss.methods.shared import balanced_cross_entropy, denormalise, labels_by_par
from wsss.methods.toco.losses import ctc_loss, ptc_loss, token_pairs
from wsss.methods.toco.network import ToCo
from wsss.methods.toco.settings import Settings
from wsss.methods.toco.views import confidence_regions, corners_of, crop_candidates, cut, positive_crops


def _tensors(inputs: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def toco_ptc_loss(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t = _tensors(inputs)
    features = t["inputs"].requires_grad_()
    loss = ptc_loss(features, t["mask"])
    loss.backward()
    return {"loss": loss.detach().numpy(), "grad_inputs": features.grad.numpy()}


def toco_aff_mask(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    return {"aff_mask": token_pairs(_tensors(inputs)["label"]).numpy()}


def toco_ctc_loss(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t = _tensors(inputs)
    batch, views = t["flags"].shape
    student = t["student"].unflatten(0, (views, batch)).requires_grad_()
    teacher = t["teacher"].unflatten(0, (-1, batch)).requires_grad_()
    loss = ctc_loss(student, teacher, t["flags"], meta["params"]["temp"])
    loss.backward()
    return {
        "loss": loss.detach().numpy(),
        "grad_student": student.grad.flatten(0, 1).numpy(),
        "grad_teacher": teacher.grad.flatten(0, 1).numpy(),
    }


def toco_seg_loss(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    """Without loss_allbg: the published NaN of a batch without foreground is not reproduced."""
    t = _tensors(inputs)
    logits = t["pred"].requires_grad_()
    loss = balanced_cross_entropy(logits, t["label"])
    loss.backward()
    return {"loss": loss.detach().numpy(), "grad_pred": logits.grad.numpy()}


def toco_roi(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t, p = _tensors(inputs), meta["params"]
    return {"roi": confidence_regions(t["cam"], t["cls"], p["low_thre"], p["hig_thre"]).numpy()}


def toco_crop_neg(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t, p = _tensors(inputs), meta["params"]
    size, count = p["crop_size"], p["crop_num"]
    corners = corners_of(crop_candidates(t["roi"], size, count), t["perm"])
    # The first two of the reference's flags are the global views', always positive.
    flags = torch.nn.functional.pad(positive_crops(t["roi"], corners, size), (2, 0), value=1.0)
    return {"crops": cut(t["images"], corners, size).numpy(), "flags": flags.numpy()}


def toco_refine(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t, p = _tensors(inputs), meta["params"]
    images = denormalise(t["norm"], IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    label = labels_by_par(
        images,
        t["cams"],
        t["cls"],
        t["box"],
        low=p["low_thre"],
        high=p["high_thre"],
        dilations=p["dilations"],
        iterations=p["num_iter"],
        down_scale=p["down_scale"],
    )
    return {"denorm": images.numpy(), "label": label.numpy().astype(np.uint8)}


def net_toco_deit_tiny(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t = _tensors(inputs)
    shapes = published_shapes("toco_deit_tiny")
    classes = shapes["classifier.weight"][0][0]
    names, settings = [str(i) for i in range(classes + 1)], Settings(name="toco", aux_block=-3, momentum=0.9)
    model = ToCo(ViTBackbone("deit_tiny_patch16_224"), names, settings).eval()
    load_published(model, formula_state_dict(shapes), VIT_LAYOUTS["toco"])
    crops = numbered(t, "crop_")
    with torch.no_grad():
        tokens = model.tokens(t["x"])
        class_tokens = torch.stack([model.tokens(crop).class_token for crop in crops])
        student, teacher = model.project(class_tokens[:2], class_tokens[2:])
        outputs = {
            "cls": model.logits(t["x"]),
            "seg": model.segment_logits(t["x"]),
            "x4": tokens.final_map,
            "cls_aux": model.aux_logits(tokens),
            "cam": model.class_scores(tokens),
            "cam_aux": model.aux_class_scores(tokens),
            "cls_token": tokens.class_token,
            "proj_s": student.flatten(0, 1),
            "proj_t": teacher.flatten(0, 1),
            "ema_last_v_row0": model.teacher.last.parametrizations.weight.original1[0],
        }
    return {name: tensor.numpy() for name, tensor in outputs.items()}


_LOSS = Tolerance(rtol=1e-5, rel_l2=1e-4)
_EXACT = Tolerance()

CASES: dict[str, Adapter] = {
    "toco_ptc_loss": toco_ptc_loss,
    "toco_aff_mask": toco_aff_mask,
    "toco_ctc_loss": toco_ctc_loss,
    "toco_seg_loss": toco_seg_loss,
    "toco_roi": toco_roi,
    "toco_crop_neg": toco_crop_neg,
    "toco_refine": toco_refine,
    "net_toco_deit_tiny": net_toco_deit_tiny,
}
TOLERANCES: dict[str, Tolerance] = {
    "toco_ptc_loss": _LOSS,
    "toco_aff_mask": _EXACT,
    "toco_ctc_loss": _LOSS,
    "toco_seg_loss": _LOSS,
    "toco_roi": _EXACT,
    "toco_crop_neg": _EXACT,
    "toco_refine": Tolerance(labels=0.002),
    "net_toco_deit_tiny": Tolerance(rtol=1e-4, atol=2e-5),
}
