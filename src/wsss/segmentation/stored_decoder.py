"""Decoders on stored features of a frozen network, trained without running the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.backbones.stages import wanted_stages
from wsss.runtime.tensors import resize
from wsss.segmentation.network import BackboneNet


class FeatureDecoder(nn.Module):
    """Feature maps of several stages → class logits on the finest of their grids.

    Layers: dropout, 1×1 to `width` (all stages together), 3×3, 3×3 dilated, 1×1.

    Args:
        channels: of the stages. num_classes: C, background included. dropout: of whole channels.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, *, width: int, dropout: float) -> None:
        super().__init__()
        for i, count in enumerate(channels):
            self.register_buffer(f"mean{i}", torch.zeros(count))
            self.register_buffer(f"std{i}", torch.ones(count))
        self.dropout = nn.Dropout2d(dropout)
        self.project = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.near = nn.Conv2d(width, width, 3, padding=1)
        self.far = nn.Conv2d(width, width, 3, padding=3, dilation=3)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def standardise_by(self, samples: Iterable[Sequence[Tensor]]) -> None:
        """Sets mean and deviation of each stage's channels from samples of its maps (n, D, h, w)."""
        columns = zip(*([m.float().transpose(0, 1).flatten(1) for m in maps] for maps in samples), strict=True)
        for i, parts in enumerate(columns):
            std, mean = torch.std_mean(torch.cat(parts, 1), dim=1)
            getattr(self, f"mean{i}").copy_(mean)
            getattr(self, f"std{i}").copy_(std.clamp(min=1e-3))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, C, h, w) of the stages' maps (B, D, h_s, w_s)."""
        grid = finest_grid(maps)
        total = torch.zeros((), device=maps[0].device)
        for i, (project, found) in enumerate(zip(self.project, maps, strict=True)):
            mean, std = (getattr(self, f"{name}{i}")[:, None, None] for name in ("mean", "std"))
            cells = project(self.dropout((found.float() - mean) / std))
            total = total + (cells if tuple(cells.shape[-2:]) == grid else resize(cells, grid, align_corners=False))
        return self.classify(F.relu(self.far(F.relu(self.near(F.relu(total))))))


class FrozenNet(BackboneNet):
    """A frozen backbone and a decoder of maps of its stages: normalised images (B, 3, H, W) → logits (B, C, H, W).

    stages: outputs of the backbone, as in compute_features.
    """

    def __init__(self, backbone: Backbone, stages: Sequence[int | str], decoder: nn.Module, num_classes: int) -> None:
        super().__init__(backbone.requires_grad_(False), decoder, num_classes)
        self.stages = list(stages)

    def forward(self, images: Tensor) -> Tensor:
        self.encoder.eval()
        logits = self.decoder(wanted_stages(self.encoder, images, self.stages))
        return resize(logits, images.shape[-2:], align_corners=False)


def finest_grid(maps: Sequence[Tensor]) -> tuple[int, int]:
    """Height and width of the largest of maps (B, D, h_s, w_s)."""
    return max((tuple(found.shape[-2:]) for found in maps), key=lambda size: size[0] * size[1])


def area_target(label: Tensor, num_classes: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Targets of labels (H, W): class shares (C, h, w) of each cell's labelled area, and that area's share (h, w)."""
    known = label < num_classes
    there = label[known].unique().long()
    area = F.adaptive_avg_pool2d(torch.cat([label == there[:, None, None], known[None]]).float(), grid)
    shares = area.new_zeros(num_classes, *grid)
    shares[there] = area[:-1] / area[-1].clamp(min=1e-6)
    return shares, area[-1]


class Sample(NamedTuple):
    """A training sample. maps: (1, D, h_s, w_s) of each stage. target, weight: (C, h, w), (h, w) of `area_target`."""

    maps: list[Tensor]
    target: Tensor
    weight: Tensor

    @classmethod
    def of(cls, maps: list[Tensor], label: Tensor, num_classes: int) -> Sample:
        """The sample of labels (H, W) uint8, with float16 targets on the finest grid."""
        target, weight = area_target(label, num_classes, finest_grid(maps))
        return cls(maps, target.half(), weight.half())

    def each(self, change: Callable[[Tensor], Tensor]) -> Sample:
        """The sample with a function applied to all tensors."""
        return Sample([change(found) for found in self.maps], change(self.target), change(self.weight))

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.maps, self.target, self.weight))


def area_loss(decoder: nn.Module, samples: Sequence[Sample]) -> Tensor:
    """Cross-entropy with the class shares of each cell, averaged over the labelled area of all images.

    Images of equal size form one batch.
    """
    sizes: dict[tuple[torch.Size, ...], list[Sample]] = {}
    for sample in samples:
        sizes.setdefault(tuple(found.shape for found in sample.maps), []).append(sample)
    total, area = [], []
    for group in sizes.values():
        scores = decoder([torch.cat(stage).float() for stage in zip(*(sample.maps for sample in group), strict=True)])
        target, weight = (torch.stack(parts).float() for parts in zip(*(sample[1:] for sample in group), strict=True))
        total.append(-((target * scores.log_softmax(1)).sum(1) * weight).sum())
        area.append(weight.sum())
    return torch.stack(total).sum() / torch.stack(area).sum().clamp(min=1)
