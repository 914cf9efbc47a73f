"""SEAM, ResNet-38 and its heads, IRN's classifier, and the gradient localisers."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from cases_psa import inner_pairs
from compare import Adapter, Arrays, Tolerance
from formula import formula_state_dict, published_shapes
from torch import Tensor, nn

from stencils import stencil_to_dense
from wsss.backbones.base import Backbone
from wsss.backbones.checkpoints import load_published
from wsss.backbones.irn_resnet import IRNResNet
from wsss.backbones.resnet38 import ResNet38
from wsss.localise.fusion import RULES, summed
from wsss.localise.gradients import LOCALISERS, class_gradients
from wsss.methods.cam.network import CAM
from wsss.methods.cam.settings import Settings as CAMSettings
from wsss.methods.seam.affine import Warp
from wsss.methods.seam.correlation import pixel_correlation
from wsss.methods.seam.losses import (
    View,
    classification_loss,
    cross_loss,
    max_norm,
    min_pool_loss,
    normalised_seed,
    siamese_losses,
)
from wsss.methods.seam.network import Seam
from wsss.methods.seam.settings import Settings as SeamSettings
from wsss.methods.softmax_cam import stretch
from wsss.refine.affinitynet.network import AffinityNet
from wsss.refine.walk import near_offsets, walked_pairs
from wsss.runtime.tensors import resize


def _arrays(tensors: dict[str, Tensor]) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _tensors(inputs: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def seam_cam_norm(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    return _arrays({"cam_d_norm": normalised_seed(torch.from_numpy(inputs["cam"]))})


def seam_pcm(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    x = _tensors(inputs)
    return _arrays({"cam_rv": pixel_correlation(x["cam"], x["f"], x["f9_weight"])})


def seam_losses(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    x, params = _tensors(inputs), meta["params"]
    raw = {name: x[name].requires_grad_() for name in ("cam1", "cam2", "cam_rv1", "cam_rv2")}
    views, labels = [View(raw[f"cam{i}"], raw[f"cam_rv{i}"]) for i in (1, 2)], x["label"]
    warp = Warp(scale=params["scale_factor"])
    hardest, weakest = params["topk_fraction"], params["min_pool_fraction"]
    terms = siamese_losses(*views, labels, warp, hardest=hardest, min_pool=weakest)
    out = {"loss": sum(terms.values()), "loss_er": terms["er"], "loss_ecr": terms["ecr"]}
    out["loss_cls"] = terms["cls"] + terms["min_pool"]
    for i, view in enumerate(views, 1):
        out[f"loss_cls{i}"] = classification_loss(view.maps, labels)
        out[f"loss_rvmin{i}"] = min_pool_loss(view.revised, labels, weakest)
    present = F.pad(labels, (1, 0), value=1.0)[:, :, None, None]
    first = [warp(max_norm(m)) * present for m in (raw["cam1"], raw["cam_rv1"])]
    second = [max_norm(m) * present for m in (raw["cam2"], raw["cam_rv2"])]
    out["loss_ecr1"] = cross_loss(second[0], first[1], hardest)
    out["loss_ecr2"] = cross_loss(first[0], second[1], hardest)
    gradients = torch.autograd.grad(out["loss"], list(raw.values()))
    return _arrays(out | {f"grad_{name}": g for name, g in zip(raw, gradients, strict=True)})


def _features(backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
    """The sampled channels and the digests [mean, std, |max|] of conv3 … conv6."""
    out = {}
    pyramid = backbone.features_and_pyramid(images)[1]
    for name, stage, step in zip(("conv3", "conv4", "conv5", "conv6"), pyramid, (16, 16, 32, 128), strict=True):
        exact = stage.double()
        out[f"{name}_sub"] = stage[:, ::step]
        out[f"{name}_stats"] = torch.stack([exact.mean(), exact.std(correction=0), exact.abs().max()])
    return out


def _names(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def _published(model: nn.Module, net: str, first_names: dict[str, str] | None = None) -> nn.Module:
    """The model with the formula weights, through the importer, in eval mode."""
    load_published(model, formula_state_dict(published_shapes(net), first_names))
    return model.eval()


@torch.no_grad()
def net_resnet38d(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    return _arrays(_features(_published(ResNet38(), "resnet38d"), torch.from_numpy(inputs["x"])))


@torch.no_grad()
def net_resnet38_seam(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    images, shapes = torch.from_numpy(inputs["x"]), published_shapes("resnet38_SEAM")
    model = _published(Seam(ResNet38(), _names(shapes["fc8.weight"][0][0]), SeamSettings(name="seam")), "resnet38_SEAM")
    view = model.view(images)
    stats = {k: v for k, v in _features(model.backbone, images).items() if k.endswith("stats")}
    return _arrays({"cam": view.maps[..., ::8, ::8], "cam_rv": view.revised[..., ::8, ::8]} | stats)


@torch.no_grad()
def net_resnet38_aff(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    images = torch.from_numpy(inputs["x"])
    model = _published(AffinityNet(ResNet38(), stride=8), "resnet38_aff")
    stencil = model(images)
    near = near_offsets(model.offsets, *stencil.shape[-2:])
    published = stencil * walked_pairs(model.offsets, *stencil.shape[-2:])
    stats = {k: v for k, v in _features(model.backbone, images).items() if k.endswith("stats")}
    out = _arrays({"aff_dense": stencil_to_dense(published, model.offsets)[0]} | stats)
    return out | {"aff": inner_pairs(stencil[:, near], model.offsets[near])}


@torch.no_grad()
def net_psa_resnet38_cls(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    images, shapes = torch.from_numpy(inputs["x"]), published_shapes("psa_resnet38_cls")
    model = _published(
        CAM(ResNet38(), _names(shapes["fc8.weight"][0][0] + 1), CAMSettings(name="cam")), "psa_resnet38_cls"
    )
    return _arrays({"logits": model.logits(images), "cam": model.activation_maps(images)})


def _irn_first_name(name: str) -> str:
    """stageN.* and backbone.* are resnet50.* again, newly_added.0 is the classifier."""
    name = re.sub(r"^backbone\.(\d)", lambda m: f"stage{int(m[1]) + 1}", name)
    name = name.replace("newly_added.0.", "classifier.")
    stem = {"stage1.0": "conv1", "stage1.1": "bn1", "stage1.4": "layer1"}
    for old, new in (stem | {f"stage{n}.0": f"layer{n}" for n in (2, 3, 4)}).items():
        if name.startswith(f"{old}."):
            return f"resnet50.{new}{name.removeprefix(old)}"
    return name


def irn_first_names(net: str) -> dict[str, str]:
    """Every name of a published IRN network → the first name of the same tensor."""
    return {name: _irn_first_name(name) for name in published_shapes(net)}


def _irn_net(net: str) -> CAM:
    classes = published_shapes(net)["classifier.weight"][0][0]
    return _published(CAM(IRNResNet(), _names(classes + 1), CAMSettings(name="cam")), net, irn_first_names(net))


@torch.no_grad()
def net_irn_cam(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    maps = _irn_net("irn_CAM").activation_maps(torch.from_numpy(inputs["x"]))
    return _arrays({"cam": summed([maps], RULES["max"], maps.shape[-2:])[0]})


@torch.no_grad()
def net_irn_cls(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    return _arrays({"logits": _irn_net("irn_resnet50_cam").logits(torch.from_numpy(inputs["x"]))})


def grad_cam(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    x = _tensors(inputs)
    features = F.conv2d(x["x"], x["c1_weight"], x["c1_bias"], stride=2, padding=1).relu()
    features = F.conv2d(features, x["c2_weight"], x["c2_bias"], stride=2, padding=1).relu().requires_grad_()
    hidden = F.linear(F.adaptive_avg_pool2d(features, (2, 3)).flatten(1), x["fc1_weight"], x["fc1_bias"])
    scores = F.linear(hidden.tanh(), x["fc2_weight"], x["fc2_bias"])
    gradients = class_gradients(features, scores, x["target"])
    out = {"logits": scores, "activations": features, "grads": gradients}
    for name, rule in LOCALISERS.items():
        name = name.replace("+", "p")
        out[f"{name}_raw"] = rule(features, gradients)
        out[name] = stretch(resize(stretch(out[f"{name}_raw"].relu()), x["x"].shape[-2:], align_corners=False))
    return _arrays(out)


CASES: dict[str, Adapter] = {
    "seam_cam_norm": seam_cam_norm,
    "seam_pcm": seam_pcm,
    "seam_losses": seam_losses,
    "net_resnet38d": net_resnet38d,
    "net_resnet38_SEAM": net_resnet38_seam,
    "net_resnet38_aff": net_resnet38_aff,
    "net_psa_resnet38_cls": net_psa_resnet38_cls,
    "net_irn_cam": net_irn_cam,
    "net_irn_cls": net_irn_cls,
    "grad_cam": grad_cam,
}
_NET = Tolerance(rtol=1e-4, atol=1e-4)
TOLERANCES: dict[str, Tolerance] = {
    "seam_cam_norm": Tolerance(rtol=1e-5, atol=1e-6),
    "seam_pcm": Tolerance(rtol=1e-4, atol=2e-6),
    "seam_losses": Tolerance(rtol=1e-5, rel_l2=1e-4),
    "net_resnet38d": _NET,
    "net_resnet38_SEAM": _NET,
    "net_resnet38_aff": Tolerance(rtol=1e-4, atol=1e-5),
    "net_psa_resnet38_cls": _NET,
    "net_irn_cam": _NET,
    "net_irn_cls": _NET,
    "grad_cam": Tolerance(rtol=1e-4, atol=1e-6),
}
