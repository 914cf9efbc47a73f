"""AFA: affinity from attention, end to end (Ru, Zhan, Yu & Du, CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss.backbones.base import Backbone
from wsss.backbones.mit import MiT
from wsss.data.batch import Batch
from wsss.localise.seeds import ignore_outside, irn_confident_labels
from wsss.methods.afa.affinity import (
    AffinityHead,
    affinity_labels,
    affinity_loss,
)
from wsss.methods.afa.labels import multi_scale_maps, propagated_scores, refine_in_boxes
from wsss.methods.base import Method
from wsss.methods.shared import balanced_cross_entropy, denormalise, refine_cams_with_bkg
from wsss.refine.par import DILATIONS
from wsss.runtime.tensors import resize
from wsss.segmentation.segformer import SegFormerDecoder


class AFA(Method):
    """Classifier, affinity head and decoder on one Mix Transformer, which teach each other.

    Args:
        backbone: a `MiT` whose last stage attends between all of its cells (strides 4, 2, 2, 1).
        num_classes: K.
        decoder_width: of the SegFormer decoder.
        attention_blocks: blocks of the last stage whose attention makes the affinity.
        freeze_norms: leave the backbone's LayerNorms as they are, as published; False to train from scratch.
        scales: of the CAM that makes the labels, besides 1.
        background: low and high background score; labels are what both agree on.
        radius: of affinities, in cells (Chebyshev).
        warmup_steps: with the classification loss alone.
        refined_steps: first step whose segmentation labels are propagated by the affinity; before it they are
            the CAM refined by PAR.
        segmentation_weight, affinity_weight: of the two losses, after the warm-up.
        dilations, iterations: of PAR.

    Raises:
        ValueError: a backbone without such attention, or numbers that make no schedule or no two thresholds.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder_width: int = 256,
        attention_blocks: Sequence[int] = (-2, -1),
        freeze_norms: bool = True,
        scales: Sequence[float] = (1.0, 0.5, 1.5),
        background: tuple[float, float] = (0.35, 0.55),
        radius: int = 8,
        warmup_steps: int = 2000,
        refined_steps: int = 6000,
        segmentation_weight: float = 0.1,
        affinity_weight: float = 0.1,
        dilations: Sequence[int] = DILATIONS,
        iterations: int = 10,
    ) -> None:
        super().__init__()
        _check(backbone, attention_blocks, background, (warmup_steps, refined_steps))
        self.num_classes = num_classes
        self.backbone = backbone
        self.classifier = nn.Conv2d(backbone.channels, num_classes, 1, bias=False)
        self.affinity = AffinityHead(sum(backbone.heads[block] for block in attention_blocks))
        self.decoder = SegFormerDecoder(backbone.pyramid_channels, num_classes + 1, decoder_width)
        self.attention_blocks = tuple(attention_blocks)
        self.scales = tuple(scales)
        self.background = tuple(background)
        self.radius = radius
        self.warmup_steps = warmup_steps
        self.refined_steps = refined_steps
        self.segmentation_weight = segmentation_weight
        self.affinity_weight = affinity_weight
        self.dilations = tuple(dilations)
        self.iterations = iterations
        if freeze_norms:
            backbone.freeze_norms()

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """L = L_cls + 0.1 L_seg + 0.1 L_aff, all of them scalars.

        During the warm-up the last two are 0, but keep every parameter in the graph, so that weight decay
        and distributed training see the same parameters in every step.
        """
        features, pyramid, attention = self.backbone.with_attention(batch.images, self.attention_blocks)
        classification = F.multilabel_soft_margin_loss(self._classify(features), batch.labels)
        segments, pairs = self.decoder(pyramid), self.affinity(attention)
        if step < self.warmup_steps:
            segmentation, affinity = 0 * segments.mean(), 0 * pairs.mean()
        else:
            refined, final = self.pseudo_labels(batch, propagated=step >= self.refined_steps)
            targets = affinity_labels(refined, self.backbone.stride, self.radius)
            segments = resize(segments, tuple(final.shape[-2:]), align_corners=False)
            segmentation = self.segmentation_weight * balanced_cross_entropy(segments, final)
            affinity = self.affinity_weight * affinity_loss(pairs, targets)
        return {"classification": classification, "segmentation": segmentation, "affinity": affinity}

    @torch.no_grad()
    def pseudo_labels(self, batch: Batch, *, propagated: bool) -> tuple[Tensor, Tensor]:
        """Labels for the affinity and for the segmentation, int64 (B, H, W) with 255 = ignore.

        The first is the CAM after PAR. The second is the same or, if `propagated`, the CAM after the
        affinity's propagation and PAR (§3.3, 3.4).
        """
        maps, pairs, grid = multi_scale_maps(self._maps_and_affinity, batch.images, self.scales)
        photographs = denormalise(batch.images, self.backbone.mean, self.backbone.std)
        refined = refine_cams_with_bkg(
            photographs,
            maps,
            batch.labels,
            batch.boxes,
            low=self.background[0],
            high=self.background[1],
            dilations=self.dilations,
            iterations=self.iterations,
        )
        if not propagated:
            return refined, refined
        scores = self._propagated(maps, pairs, grid, batch.labels)
        present = F.pad(batch.labels, (1, 0), value=1).repeat(1, 2)
        scores = refine_in_boxes(photographs, scores, present, batch.boxes, self.dilations, self.iterations)
        by_low, by_high = (half.argmax(1) for half in scores.chunk(2, dim=1))
        return refined, ignore_outside(irn_confident_labels(by_high, by_low), batch.boxes)

    def _propagated(self, maps: Tensor, pairs: Tensor, grid: tuple[int, int], labels: Tensor) -> Tensor:
        """Propagated class scores (B, 2C, H, W), with the low background score and with the high one."""
        scores = [propagated_scores(maps, pairs, grid, labels, score, self.radius) for score in self.background]
        return torch.cat(scores, dim=1)

    def _classify(self, features: Tensor) -> Tensor:
        return self.classifier(F.adaptive_max_pool2d(features, 1)).flatten(1)

    def _maps_and_affinity(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, _, attention = self.backbone.with_attention(images, self.attention_blocks)
        return self.classifier(features), self.affinity(attention)

    def logits(self, images: Tensor) -> Tensor:
        return self._classify(self.backbone(images))

    def activation_maps(self, images: Tensor) -> Tensor:
        return self.class_maps(images).relu()

    def class_maps(self, images: Tensor) -> Tensor:
        return self.classifier(self.backbone(images))

    def pair_affinity(self, images: Tensor) -> Tensor:
        """Affinity P of all pairs of cells: (B, N, N) in (0, 1), symmetric."""
        return self._maps_and_affinity(images)[1]

    def segment_logits(self, images: Tensor) -> Tensor:
        """Decoded class logits (B, C, H/4, W/4), background first."""
        return self.decoder(self.backbone.features_and_pyramid(images)[1])

    def head_parameters(self) -> list[nn.Parameter]:
        heads = (self.classifier, self.affinity, self.decoder)
        return [parameter for head in heads for parameter in head.parameters()]


def _check(
    backbone: Backbone, blocks: Sequence[int], background: tuple[float, float], schedule: tuple[int, int]
) -> None:
    if not isinstance(backbone, MiT):
        given = type(backbone).__name__
        raise ValueError(f"afa takes its affinity from a Mix Transformer (mit_b0 … mit_b5); got a {given}")
    last = range(-backbone.net.config.depths[-1], 0)
    if not blocks or any(block not in last for block in blocks):
        raise ValueError(f"attention_blocks {tuple(blocks)} given; accepted: blocks {list(last)} of the last stage")
    if not background[0] <= background[1]:
        raise ValueError(f"background {tuple(background)} given; accepted: a low and a high score, in this order")
    if not 0 <= schedule[0] <= schedule[1]:
        raise ValueError(f"warmup_steps, refined_steps {schedule} given; accepted: 0 ≤ warm-up ≤ refined")
