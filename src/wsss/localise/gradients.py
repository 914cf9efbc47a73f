"""Gradient localisers: class maps of a CNN from the gradients of its scores at the last features.

Grad-CAM (Selvaraju 2017), Grad-CAM++ (Chattopadhyay 2018), XGrad-CAM (Fu 2020), HiResCAM (Draelos 2020) and
LayerCAM (Jiang 2021). Each rule is a function of features and gradients, both (B, D, h, w); its maps
(B, h, w) have any sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from wsss.localise.base import Localises

Rule = Callable[[Tensor, Tensor], Tensor]


def grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM: channels weighted by their mean gradient."""
    return _weighted(features, gradients.mean((2, 3), keepdim=True))


def grad_cam_pp(features: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++: channels weighted by their positive gradients, each with α = g²/(2g² + Σ F·g³) (eq. 19)."""
    squared = gradients**2
    mass = features.sum((2, 3), keepdim=True)
    alpha = squared / (2 * squared + mass * squared * gradients + 1e-6)
    alpha = torch.where(gradients == 0, 0, alpha)
    return _weighted(features, (gradients.relu() * alpha).sum((2, 3), keepdim=True))


def xgrad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """XGrad-CAM: channels weighted by the mean of their gradients, weighted by the normalised features (eq. 8)."""
    mass = features.sum((2, 3), keepdim=True)
    return _weighted(features, (features * gradients).sum((2, 3), keepdim=True) / (mass + 1e-7))


def hires_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM: Σ_d F·g at each position."""
    return _weighted(features, gradients)


def layer_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM: Σ_d F·ReLU(g) at each position."""
    return _weighted(features, gradients.relu())


LOCALISERS: dict[str, Rule] = {
    "gradcam": grad_cam,
    "gradcam++": grad_cam_pp,
    "xgradcam": xgrad_cam,
    "hirescam": hires_cam,
    "layercam": layer_cam,
}
"""Value of `infer_cam.localiser` → rule; `cam` is the method's own `activation_maps`."""


def class_gradients(features: Tensor, scores: Tensor, classes: Tensor) -> Tensor:
    """∂ scores[b, classes[b]] / ∂ features[b]: (B, D, h, w).

    features must require gradients, and scores (B, K) must depend on them; classes (B,). The graph is retained.
    """
    chosen = scores.gather(1, classes[:, None]).sum()
    (gradients,) = torch.autograd.grad(chosen, features, retain_graph=True)
    return gradients


def localise(
    method: Localises, images: Tensor, localiser: str, labels: Tensor | None = None, *, signed: bool = False
) -> Tensor:
    """Class maps (B, K, h, w) ≥ 0 of images (B, 3, H, W), for inference; works under `no_grad` and `inference_mode`.

    labels: (B, K); the maps of classes that no image has may stay 0.
    signed: keep the negative values of the method's own maps, and of its auxiliary classifier's.

    Raises:
        ValueError: unknown localiser, or one that the method does not support.
    """
    if localiser == "aux":
        maps = _auxiliary(method)(images)
        return maps if signed else maps.relu()
    if localiser != "cam":
        return _by_gradients(method, images, localiser, labels)
    if signed:
        return method.class_maps(images)
    return method.activation_maps(images) if labels is None else method.present_maps(images, labels)


def _by_gradients(method: Localises, images: Tensor, localiser: str, labels: Tensor | None) -> Tensor:
    """Maps of a rule in `LOCALISERS`: the backbone runs once; each class's gradient passes through the head alone."""
    if localiser not in LOCALISERS:
        raise ValueError(f"unknown localiser '{localiser}'; accepted: cam, aux, {', '.join(LOCALISERS)}")
    backbone = getattr(method, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ValueError(f"localiser '{localiser}' needs a method with a backbone; {type(method).__name__} has none")
    rule = LOCALISERS[localiser]
    with torch.inference_mode(False), torch.enable_grad(), _leaf_outputs(backbone) as outputs:
        scores = method.logits(images.clone())
        if len(outputs) != 1:
            needed = f"localiser '{localiser}' needs a method that classifies its backbone's output"
            raise ValueError(f"{needed}; not {type(method).__name__}")
        features = outputs[0]
        maps = scores.new_zeros(*scores.shape, *features.shape[2:])
        for k in range(scores.shape[1]) if labels is None else labels.any(0).nonzero().flatten().tolist():
            classes = torch.full((len(images),), k, device=scores.device)
            maps[:, k] = rule(features.detach(), class_gradients(features, scores, classes)).detach()
    return maps.detach().relu()


def _auxiliary(method: Localises) -> Callable[[Tensor], Tensor]:
    maps = getattr(method, "aux_maps", None)
    if maps is None:
        raise ValueError(f"localiser 'aux' needs an auxiliary classifier; {type(method).__name__} has none")
    return maps


def _weighted(features: Tensor, weights: Tensor) -> Tensor:
    return (features * weights).sum(1)


@contextmanager
def _leaf_outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """Context in which the module runs without gradients, and its outputs are leaves that require them."""
    outputs: list[Tensor] = []

    def before(_module: nn.Module, _inputs: tuple[Tensor, ...]) -> None:
        torch.set_grad_enabled(False)

    def after(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        torch.set_grad_enabled(True)
        outputs.append(output.detach().requires_grad_())
        return outputs[-1]

    handles = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
