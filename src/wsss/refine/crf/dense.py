"""Fully connected conditional random field (Krähenbühl & Koltun 2011) on score maps and on label maps.

Two backends give the same labels: `pydensecrf`, the authors' C++, one image at a time on the CPU; and `torch`
(`wsss.refine.crf.mean_field`), on any device. `auto` is pydensecrf on the CPU where it is installed, else torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wsss.config.sections import CRF

if TYPE_CHECKING:
    import torch

MIN_PROBABILITY = 1e-5


def crf_marginal_group(
    images: Sequence[NDArray[np.uint8]], scores: Sequence[NDArray], params: CRF, device: str | torch.device = "cpu"
) -> list[NDArray[np.float32]]:
    """Marginals (L, H, W) float32 after mean field of several images of equal size, from the unary −log p.

    images: (H, W, 3) uint8. scores: p of each image, (L, H, W), clipped to [1e-5, 1]; they need not sum to 1.
    device: where the torch backend computes, which takes all images in one batch.

    Raises:
        ValueError: shapes or types do not fit.
    """
    for image, maps in zip(images, scores, strict=True):
        _check(image, maps.shape)
    return _marginals(images, [_unary_from_probabilities(maps) for maps in scores], params, device)


def crf_label_group(
    images: Sequence[NDArray[np.uint8]],
    labels: Sequence[NDArray[np.integer]],
    num_labels: Sequence[int],
    params: CRF,
    gt_prob: float,
    device: str | torch.device = "cpu",
) -> list[NDArray[np.integer]]:
    """Refined labels (H, W) of several images of equal size, from labels that are right with probability `gt_prob`.

    labels: (H, W) each, in 0..num_labels−1 of its image; the result has their dtype. device: as in
    `crf_marginal_group`.
    """
    items = list(zip(images, labels, num_labels, strict=True))
    for image, label, count in items:
        _check(image, (count, *label.shape))
        if label.min() < 0 or label.max() >= count:
            accepted = f"0..{count - 1}"
            raise ValueError(f"labels {label.min()}..{label.max()} given; accepted with {count} labels: {accepted}")
    unaries = [_unary_from_labels(label.astype(np.int64), count, gt_prob) for _, label, count in items]
    found = _marginals(images, unaries, params, device)
    return [m.argmax(0).astype(label.dtype) for m, label in zip(found, labels, strict=True)]


def crf_score_group(
    images: Sequence[NDArray[np.uint8]],
    classes: Sequence[Sequence[int]],
    scores: Sequence[NDArray],
    params: CRF,
    device: str | torch.device = "cpu",
) -> list[NDArray[np.uint8]]:
    """Label maps (H, W) of class ids: argmax of `crf_marginal_group`. classes: ids of the score maps of each image."""
    found = crf_marginal_group(images, scores, params, device)
    return [np.asarray(ids, np.uint8)[m.argmax(0)] for ids, m in zip(classes, found, strict=True)]


def _check(image: NDArray, shape: tuple[int, ...]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; accepted: uint8 (H, W, 3)")
    if len(shape) != 3 or shape[0] < 1 or shape[1:] != image.shape[:2]:
        raise ValueError(f"maps are {shape}; accepted for this image: (L, {image.shape[0]}, {image.shape[1]})")


def _unary_from_probabilities(probs: NDArray) -> NDArray[np.float32]:
    return -np.log(np.clip(probs, MIN_PROBABILITY, 1.0)).astype(np.float32)


def _unary_from_labels(label: NDArray[np.int64], num_labels: int, gt_prob: float) -> NDArray[np.float32]:
    """Energies −log p (L, H, W): p = gt_prob for the given label, equal for the others."""
    if not 0 < gt_prob < 1:
        raise ValueError(f"gt_prob {gt_prob} given; accepted: between 0 and 1, both excluded")
    other = -np.log((1.0 - gt_prob) / max(num_labels - 1, 1))
    given = label[None] == np.arange(num_labels)[:, None, None]
    return np.where(given, -np.log(gt_prob), other).astype(np.float32)


def resolve_backend(backend: str, device: str | torch.device = "cpu") -> str:
    """The backend, `pydensecrf` or `torch`, that `backend` selects for a device."""
    if backend != "auto":
        return backend
    return "pydensecrf" if str(device) == "cpu" and importlib.util.find_spec("pydensecrf") else "torch"


def _marginals(
    images: Sequence[NDArray[np.uint8]],
    unaries: Sequence[NDArray[np.float32]],
    params: CRF,
    device: str | torch.device,
) -> list[NDArray[np.float32]]:
    """Marginals (L, H, W) of each image, all of equal size."""
    if resolve_backend(params.backend, device) == "pydensecrf":
        return [_pydensecrf_marginals(image, unary, params) for image, unary in zip(images, unaries, strict=True)]
    return _torch_marginals(images, unaries, params, device)


def _torch_marginals(
    images: Sequence[NDArray[np.uint8]],
    unaries: Sequence[NDArray[np.float32]],
    params: CRF,
    device: str | torch.device,
) -> list[NDArray[np.float32]]:
    """Marginals of one batch; labels that an image lacks have infinite energy."""
    import torch

    from wsss.refine.crf.mean_field import mean_field

    most = max(map(len, unaries))
    unary = torch.full((len(unaries), most, *unaries[0].shape[1:]), torch.inf)
    for row, energies in zip(unary, unaries, strict=True):
        row[: len(energies)] = torch.from_numpy(energies)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(device).float()
    marginals = mean_field(pixels, unary.to(device), params).cpu().numpy()
    return [maps[: len(energies)] for maps, energies in zip(marginals, unaries, strict=True)]


def _pydensecrf_marginals(image: NDArray[np.uint8], unary: NDArray[np.float32], params: CRF) -> NDArray[np.float32]:
    from pydensecrf.densecrf import DenseCRF2D

    num_labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, num_labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(num_labels, -1)))
    crf.addPairwiseGaussian(sxy=params.gaussian_sxy, compat=params.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=params.bilateral_sxy,
        srgb=params.bilateral_srgb,
        rgbim=np.ascontiguousarray(image),
        compat=params.bilateral_weight,
    )
    return np.asarray(crf.inference(params.steps), dtype=np.float32).reshape(unary.shape)
