"""IRNet: class boundaries learned from confident labels, and the random walk that stops at them.

Ahn, Cho & Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from wsss.backbones.base import Backbone
from wsss.localise.seeds import background_first, constant_background
from wsss.refine.affinitynet.network import PairLabels, pair_losses, upsample_scores
from wsss.refine.irnet.paths import boundary_affinity, path_offsets
from wsss.refine.walk import pair_slices, walk_group
from wsss.runtime import distributed
from wsss.runtime.tensors import resize

_BOUNDARY_WIDTH = 32
_DISPLACEMENT_WIDTHS = (64, 128, 256, 256, 256)  # of the last five stages, shallow to deep


class IRNet(nn.Module):
    """Boundary and displacement branches on a frozen backbone (sec. 4, Fig. 3).

    Args:
        backbone: up to five of its last pyramid stages are used.
        stride: input pixels per cell of both outputs.
        crop_size: side of the training crops, to which inputs of `infer` are padded at least, because the statistics of
            the group normalisations are over the whole input.
    """

    def __init__(self, backbone: Backbone, stride: int = 4, crop_size: int = 512) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.stride = stride
        self.crop_size = crop_size
        strides = backbone.pyramid_strides[-5:]
        channels = backbone.pyramid_channels[-5:]
        self.boundary_levels = nn.ModuleList(_projection(c, _BOUNDARY_WIDTH, 4) for c in channels)
        self.boundary_head = nn.Conv2d(_BOUNDARY_WIDTH * len(channels), 1, 1)

        widths = _DISPLACEMENT_WIDTHS[-len(channels) :]
        shallow = min(sum(s <= stride for s in strides), len(strides) - 1)
        self.displacement_levels = nn.ModuleList(
            _projection(c, width, max(8, min(16, width // 8))) for c, width in zip(channels, widths, strict=True)
        )
        self.displacement_deep = _projection(sum(widths[shallow:]), 256, 16)
        self.displacement_head = nn.Sequential(
            _projection(sum(widths[:shallow]) + 256, 256, 16), nn.ReLU(), nn.Conv2d(256, 2, 1, bias=False)
        )
        self.num_shallow = shallow
        self.register_buffer("mean_displacement", torch.zeros(2))

    def train(self, mode: bool = True) -> IRNet:
        """Sets the mode of the branches; the frozen backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boundary logits (B, h, w) and displacements (B, 2, h, w), (y, x) in cells, of (B, 3, H, W)."""
        grid = [-(-side // self.stride) for side in images.shape[-2:]]
        pyramid = self._pyramid(images)
        return self._boundary(pyramid, grid), self._displacement(pyramid, grid)

    @torch.no_grad()
    def infer(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boundary probabilities (B, h, w), averaged with the mirror image's, and centred displacements (B, 2, h, w).

        h = ceil(H / stride), w = ceil(W / stride).
        """
        height, width = (-(-side // self.stride) for side in images.shape[-2:])
        coarsest = max(self.backbone.pyramid_strides)
        bottom, right = (max(self.crop_size - n, 0) or -n % coarsest for n in images.shape[-2:])
        both = F.pad(torch.cat([images, images.flip(3)]), (0, right, 0, bottom))
        logits, displacements = (maps[..., :height, :width] for maps in self(both))
        straight, mirrored = logits.chunk(2)
        boundary = torch.sigmoid((straight + mirrored.flip(2)) / 2)
        return boundary, displacements[: len(images)] - self.mean_displacement[:, None, None]

    @torch.no_grad()
    def measure_mean_displacement(self, batches: Iterable[Tensor]) -> None:
        """Measures the mean displacement over the training images, which `infer` subtracts (sec. 4.3)."""
        means = [self(images)[1].mean((0, 2, 3)) for images in batches]
        self.mean_displacement.copy_(torch.stack(means).mean(0))

    def displacement_parameters(self) -> list[nn.Parameter]:
        """The displacement branch, which has ten times the boundary branch's learning rate in the paper."""
        parts = (self.displacement_levels, self.displacement_deep, self.displacement_head)
        return [parameter for part in parts for parameter in part.parameters()]

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        """The last stages; stages finer than the grid are max-pooled to it, as in a ResNet's stem."""
        with torch.no_grad():
            stages = self.backbone.features_and_pyramid(images)[1][-5:]
        strides = self.backbone.pyramid_strides[-5:]
        ratios = [max(1, self.stride // s) for s in strides]
        return [
            F.max_pool2d(stage, ratio + 1, ratio, ratio // 2) if ratio > 1 else stage
            for stage, ratio in zip(stages, ratios, strict=True)
        ]

    def _boundary(self, pyramid: list[Tensor], grid: Sequence[int]) -> Tensor:
        levels = [_resized_relu(f(p), grid) for f, p in zip(self.boundary_levels, pyramid, strict=True)]
        return self.boundary_head(torch.cat(levels, 1)).squeeze(1)

    def _displacement(self, pyramid: list[Tensor], grid: Sequence[int]) -> Tensor:
        """Displacements (B, 2, h, w); coarse stages are combined at twice the stride before they join the fine ones."""
        half = [-(-side // 2) for side in grid]
        levels = [f(p) for f, p in zip(self.displacement_levels, pyramid, strict=True)]
        fine = [_resized_relu(level, grid) for level in levels[: self.num_shallow]]
        deep = torch.cat([_resized_relu(level, half) for level in levels[self.num_shallow :]], 1)
        deep = _resized_relu(self.displacement_deep(deep), grid)
        return self.displacement_head(torch.cat([*fine, deep], 1))


def _projection(inputs: int, outputs: int, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.GroupNorm(groups, outputs))


def _resized_relu(features: Tensor, size: Sequence[int]) -> Tensor:
    """ReLU after the resizing, as published: bilinear, align_corners=False."""
    return torch.relu(resize(features, tuple(size), align_corners=False))


def pair_displacement(displacement: Tensor, offsets: Tensor) -> Tensor:
    """D_i − D_j (B, 2, O, h, w) of every pair, 0 beyond the grid, of a field D (B, 2, h, w)."""
    pairs = []
    for dy, dx in offsets.tolist():
        source, target = pair_slices(dy, dx, *displacement.shape[-2:])
        difference = torch.zeros_like(displacement)
        difference[:, :, *source] = displacement[:, :, *source] - displacement[:, :, *target]
        pairs.append(difference)
    return torch.stack(pairs, 2)


def displacement_costs(displacement: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """|D_i − D_j − (j − i)| and |D_i − D_j| of every pair (B, 2, O, h, w): costs of foreground and background pairs.

    Displacements of one object point at one centroid, so that they differ as the positions do (sec. 4.3).
    """
    difference = pair_displacement(displacement, offsets)
    target = offsets.T.to(difference)[None, :, :, None, None]
    return (difference - target).abs(), difference.abs()


def irnet_losses(
    logits: Tensor, displacement: Tensor, labels: PairLabels, radius: int, eps: float = 1e-5
) -> dict[str, Tensor]:
    """The loss terms of `pair_losses`, and ½ of each displacement term, a mean over its pairs.

    logits (B, h, w) and displacement (B, 2, h, w) from `IRNet`; labels for `path_offsets(radius)`.
    """
    terms = pair_losses(boundary_affinity(torch.sigmoid(logits.float()), radius), labels, eps)
    kinds = {"displacement_foreground": labels.foreground, "displacement_background": labels.background}
    sums = _displacement_sums(displacement.float(), path_offsets(radius), *kinds.values())
    for (name, kind), total in zip(kinds.items(), sums, strict=True):
        count = 2 * distributed.batch_sum(kind.sum()) + eps
        terms[name] = total * distributed.processes() / count / 2
    return terms


def _displacement_sums(
    displacement: Tensor, offsets: Tensor, foreground: Tensor, background: Tensor, chunk: int = 8
) -> tuple[Tensor, ...]:
    """Summed costs of foreground and of background pairs, computed for `chunk` offsets at a time to bound memory."""

    def chunk_sums(field: Tensor, offsets: Tensor, *kinds: Tensor) -> Tensor:
        costs = displacement_costs(field, offsets)
        return torch.stack([(cost * kind[:, None]).sum() for cost, kind in zip(costs, kinds, strict=True)])

    chunks = zip(offsets.split(chunk), foreground.split(chunk, 1), background.split(chunk, 1), strict=True)
    sums = [checkpoint(chunk_sums, displacement, *parts, use_reentrant=False) for parts in chunks]
    return torch.stack(sums).sum(0).unbind()


def walk_to_boundary(
    cams: Sequence[Tensor], boundary: Tensor, radius: int, beta: float, steps: int
) -> Sequence[Tensor]:
    """Each image's maps (k, h, w) after a random walk from its CAMs (k, h, w) within boundaries (B, h, w) (sec. 5)."""
    seeds = [maps * (1 - edge) for maps, edge in zip(cams, boundary, strict=True)]
    return walk_group(seeds, boundary_affinity(boundary, radius), path_offsets(radius), beta, steps)


def relative_scores(walked: Tensor, stride: int, size: Sequence[int], threshold: float) -> Tensor:
    """Score maps (1 + k, *size) from one image's maps (k, h, w) after the walk; channel 0 is the threshold.

    Scores are divided by their maximum over all classes.
    """
    scores = upsample_scores(walked, stride, size)
    if scores.numel():
        scores = scores / scores.max().clamp_min(torch.finfo(scores.dtype).tiny)
    return background_first(scores, constant_background(scores, threshold))
