"""AffinityNet: semantic affinities between neighbouring cells, learned from confident labels.

Ahn & Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision", CVPR 2018 (PSA).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss.backbones.base import Backbone
from wsss.localise.seeds import background_first, confident_labels, power_background
from wsss.refine.walk import half_plane_offsets, pair_mask, pair_slices
from wsss.runtime import distributed
from wsss.runtime.labels import IGNORE
from wsss.runtime.tensors import largest, resize


class AffinityNet(nn.Module):
    """Pixel embeddings whose distances are affinities (sec. 3.2, Fig. 3).

    Args:
        backbone: its last `len(channels)` pyramid stages are used.
        stride: input pixels per cell of the affinity grid; 8 in the paper.
        radius: neighbours are closer than this many cells.
        channels: width of each stage's projection; their sum is the width of the embedding.
    """

    def __init__(
        self, backbone: Backbone, stride: int, radius: int = 5, channels: Sequence[int] = (64, 128, 256)
    ) -> None:
        super().__init__()
        if len(backbone.pyramid_channels) < len(channels):
            raise ValueError(
                f"AffinityNet reads {len(channels)} backbone stages; this one has {backbone.pyramid_channels}"
            )
        self.backbone = backbone
        self.stride = stride
        self.register_buffer("offsets", half_plane_offsets(radius), persistent=False)
        widths = zip(backbone.pyramid_channels[-len(channels) :], channels, strict=True)
        self.projections = nn.ModuleList(nn.Conv2d(wide, narrow, 1, bias=False) for wide, narrow in widths)
        self.fusion = nn.Conv2d(sum(channels), sum(channels), 1, bias=False)
        for projection in self.projections:
            nn.init.kaiming_normal_(projection.weight)
        nn.init.xavier_uniform_(self.fusion.weight, gain=4)

    def features(self, images: Tensor) -> Tensor:
        """Embeddings (B, D, h, w) of images (B, 3, H, W), h = ceil(H / stride), w = ceil(W / stride)."""
        height, width = (-(-side // self.stride) for side in images.shape[-2:])
        pyramid = self.backbone.features_and_pyramid(images)[1][-len(self.projections) :]
        projected = [F.elu(layer(stage)) for layer, stage in zip(self.projections, pyramid, strict=True)]
        resized = [resize(p, (height, width), align_corners=False) for p in projected]
        return F.elu(self.fusion(torch.cat(resized, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Affinity stencil (B, O, h, w) of images (B, 3, H, W), for `self.offsets`."""
        return pair_affinity(self.features(images), self.offsets)

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of the new layers, trained at ten times the backbone's learning rate in the paper."""
        return [*self.projections.parameters(), *self.fusion.parameters()]


def pair_affinity(features: Tensor, offsets: Tensor) -> Tensor:
    """Stencil (B, O, h, w) of exp(−mean_d |f_i − f_j|), features f (B, D, h, w); 0 beyond the grid (eq. 1).

    Memory, also in training, is that of the result: no (B, D, pairs) tensor is kept.
    """
    return torch.exp(-_PairDistance.apply(features.float(), offsets))


class _PairDistance(torch.autograd.Function):
    """Mean absolute difference of the features of every pair, infinite beyond the grid."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(features, offsets)
        batch, _, height, width = features.shape
        distance = features.new_full((batch, len(offsets), height, width), torch.inf)
        for o, (dy, dx) in enumerate(offsets.tolist()):
            source, target = pair_slices(dy, dx, height, width)
            difference = features[:, :, *source] - features[:, :, *target]
            distance[:, o, *source] = difference.abs_().mean(1)
        return distance

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        features, offsets = ctx.saved_tensors
        out = torch.zeros_like(features)
        for o, (dy, dx) in enumerate(offsets.tolist()):
            source, target = pair_slices(dy, dx, *features.shape[-2:])
            sign = (features[:, :, *source] - features[:, :, *target]).sign_()
            sign *= grad[:, o, *source].unsqueeze(1) / features.shape[1]
            out[:, :, *source] += sign
            out[:, :, *target] -= sign
        return out, None


class PairLabels(NamedTuple):
    """Masks (B, O, h, w), bool, of the pairs that are both background, of one foreground class, and different."""

    background: Tensor
    foreground: Tensor
    different: Tensor


def pair_labels(labels: Tensor, offsets: Tensor, inner: bool = False) -> PairLabels:
    """Supervision of every pair of the stencil from confident labels (B, h, w), 255 unknown (sec. 3.2.1).

    inner: only pairs of cells whose neighbours are all in the grid, as in the published training.
    """
    known = (labels != IGNORE)[:, None] & pair_mask(offsets, *labels.shape[1:], inner).to(labels.device)
    neighbours = torch.full_like(labels, IGNORE)[:, None].repeat(1, len(offsets), 1, 1)
    for o, (dy, dx) in enumerate(offsets.tolist()):
        source, target = pair_slices(dy, dx, *labels.shape[1:])
        neighbours[:, o, *source] = labels[:, *target]
    known &= neighbours != IGNORE
    same = neighbours == labels[:, None]
    background = (labels == 0)[:, None]
    return PairLabels(known & same & background, known & same & ~background, known & ~same)


def pair_losses(affinity: Tensor, labels: PairLabels, eps: float = 1e-5) -> dict[str, Tensor]:
    """Loss terms ¼ background, ¼ foreground, ½ different, each a mean over its pairs in the batch (eq. 3 … 5).

    affinity and each of the labels have one shape; a term without pairs is 0.
    """
    attract, repel = affinity_costs(affinity, eps)
    shares = distributed.processes()
    costs = zip((attract, attract, repel), labels, kind_counts(labels, eps), strict=True)
    background, foreground, different = ((cost * kind).sum() * shares / count for cost, kind, count in costs)
    return {"background": background / 4, "foreground": foreground / 4, "different": different / 2}


def kind_counts(labels: PairLabels, eps: float) -> list[Tensor]:
    """Number of pairs of each kind in the batch, plus eps; float32."""
    return [distributed.batch_sum(kind.sum(dtype=torch.float32)) + eps for kind in labels]


def affinity_costs(affinity: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Cost of each pair if it is of one class, −log(a + ε), and if it is not, −log(1 + ε − a)."""
    return -torch.log(affinity + eps), -torch.log(1 + eps - affinity)


def pool_confident_labels(low: Tensor, high: Tensor, stride: int) -> Tensor:
    """Confident labels (h, w), uint8, of scores (C, H, W) with a low and a high background power (sec. 3.2.1).

    Scores are averaged over stride × stride blocks before the argmax; cells without any score are 255.
    """
    low, high = (F.avg_pool2d(scores[None], stride, ceil_mode=True)[0] for scores in (low, high))
    labels = confident_labels(largest(low, 0), largest(high, 0)).to(torch.uint8)
    return labels.masked_fill(torch.maximum(low, high).amax(0) < 1e-5, IGNORE)


def pool_with_background(cams: Tensor, alpha: float, stride: int) -> Tensor:
    """Score maps (K + 1, h, w) from CAMs (K, H, W) in [0, 1]; channel 0 is the background (1 − max_k)^α.

    Averaged over stride × stride blocks; all channels, the background included, are padded with 0, as published.
    """
    scores = background_first(cams, power_background(cams, alpha))
    bottom, right = (-side % stride for side in cams.shape[1:])
    return F.avg_pool2d(F.pad(scores, (0, right, 0, bottom)), stride)


def upsample_scores(scores: Tensor, stride: int, size: Sequence[int]) -> Tensor:
    """Score maps (C, *size) from a grid (C, h, w): bilinear × stride (align_corners=False), then cropped."""
    height, width = scores.shape[1:]
    full = resize(scores, (height * stride, width * stride), align_corners=False)
    return full[:, : size[0], : size[1]]
