"""AFA: affinity from attention, end to end (Ru, Zhan, Yu & Du, CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss.backbones.base import Backbone
from wsss.backbones.mit import MiT
from wsss.data.batch import Batch
from wsss.localise.seeds import ignore_outside, irn_confident_labels
from wsss.methods.afa.affinity import AffinityHead
from wsss.methods.afa.labels import multi_scale_maps, propagated_scores, refine_in_boxes
from wsss.methods.afa.settings import Settings
from wsss.methods.attention_affinity import dense_pair_labels, dense_pair_loss
from wsss.methods.base import Method
from wsss.methods.shared import balanced_cross_entropy, denormalise, labels_by_par
from wsss.refine.crf.energy import dense_energy_loss
from wsss.runtime import distributed
from wsss.runtime.tensors import largest, resize
from wsss.segmentation.segformer import SegFormerDecoder


class AFA(Method):
    """Classifier, affinity head and decoder on one Mix Transformer, each of which supervises the next.

    The backbone is a `MiT` whose last stage has attention between all of its cells (strides 4, 2, 2, 1).

    Raises:
        ValueError: another backbone, or attention blocks that it does not have.
    """

    def __init__(self, backbone: Backbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__()
        _check(backbone, settings.attention_blocks)
        self.settings, self.backbone, self.num_classes = settings, backbone, len(class_names) - 1
        self.classifier = nn.Conv2d(backbone.channels, self.num_classes, 1, bias=False)
        self.affinity = AffinityHead(sum(backbone.heads[block] for block in settings.attention_blocks))
        self.decoder = SegFormerDecoder(backbone.pyramid_channels, len(class_names), settings.decoder_width)
        self.begins = {name: getattr(settings, name) for name in ("warmup_steps", "refined_steps")}
        self.crop_scales = settings.scales
        if settings.freeze_norms:
            backbone.freeze_norms()

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Scalars L_cls, L_seg, L_aff and, if its factor is not 0, the energy, with their factors (eq. 14).

        During the warm-up all but the first are 0, but they keep every parameter in the graph, so that weight decay
        and distributed training have the same parameters in every step.
        """
        features, pyramid, attention = self.backbone.with_attention(batch.images, self.settings.attention_blocks)
        classification = F.multilabel_soft_margin_loss(self._classify(features), batch.labels)
        segments, pairs = self.decoder(pyramid), self.affinity(attention)
        terms = {"classification": classification}
        if step < self.settings.warmup_steps:
            terms |= {"segmentation": 0 * segments.mean(), "affinity": 0 * pairs.mean()}
            return terms | ({"energy": 0 * segments.mean()} if self.settings.energy_weight else {})
        return terms | self._taught(batch, step, segments, pairs)

    def require_batch(self, images: int, edge: int) -> None:
        distributed.require_groups(images, self.settings.counted_images)

    def _taught(self, batch: Batch, step: int, segments: Tensor, pairs: Tensor) -> dict[str, Tensor]:
        """The loss terms of decoder and affinity, whose labels come from the CAM."""
        chosen, propagated = self.settings, step >= self.settings.refined_steps
        refined, final = self.pseudo_labels(batch, propagated=propagated)
        teacher = final if propagated and chosen.refined_pairs else refined
        targets = dense_pair_labels(teacher, self.backbone.stride, chosen.radius)
        segments = resize(segments, tuple(final.shape[-2:]), align_corners=False)
        counted = partial(distributed.counted_by, chosen.counted_images)
        terms = {
            "segmentation": chosen.segmentation_weight * counted(balanced_cross_entropy, segments, final),
            "affinity": chosen.affinity_weight * counted(dense_pair_loss, pairs, targets),
        }
        if chosen.energy_weight:
            mean, std = self.backbone.mean, self.backbone.std
            energy = dense_energy_loss(batch.images, segments, final, batch.boxes, mean, std)
            terms["energy"] = chosen.energy_weight * energy
        return terms

    @torch.no_grad()
    def pseudo_labels(self, batch: Batch, *, propagated: bool) -> tuple[Tensor, Tensor]:
        """Labels for the affinity and for the segmentation, int64 (B, H, W) with 255 = ignore.

        The first is the CAM after PAR. The second is the same or, if `propagated`, the CAM after propagation by the
        affinity and PAR (§3.3, 3.4).
        """
        maps, pairs, grid = multi_scale_maps(self._maps_and_affinity, batch.images, self.settings.scales)
        photographs = denormalise(batch.images, self.backbone.mean, self.backbone.std)
        refined = labels_by_par(
            photographs,
            maps,
            batch.labels,
            batch.boxes,
            low=self.settings.background[0],
            high=self.settings.background[1],
            dilations=self.settings.dilations,
            iterations=self.settings.iterations,
        )
        if not propagated:
            return refined, refined
        scores = self._propagated(maps, pairs, grid, batch.labels)
        present = F.pad(batch.labels, (1, 0), value=1).repeat(1, 2)
        scores = refine_in_boxes(
            photographs, scores, present, batch.boxes, self.settings.dilations, self.settings.iterations
        )
        by_low, by_high = (largest(half, 1) for half in scores.chunk(2, dim=1))
        return refined, ignore_outside(irn_confident_labels(by_high, by_low), batch.boxes)

    def _propagated(self, maps: Tensor, pairs: Tensor, grid: tuple[int, int], labels: Tensor) -> Tensor:
        """Propagated class scores (B, 2C, H, W): C at the low background score, then C at the high one."""
        scores = [
            propagated_scores(maps, pairs, grid, labels, score, self.settings.radius)
            for score in self.settings.background
        ]
        return torch.cat(scores, dim=1)

    def _classify(self, features: Tensor) -> Tensor:
        return self.classifier(F.adaptive_max_pool2d(features, 1)).flatten(1)

    def _maps_and_affinity(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, _, attention = self.backbone.with_attention(images, self.settings.attention_blocks)
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


def _check(backbone: Backbone, blocks: Sequence[int]) -> None:
    if not isinstance(backbone, MiT):
        given = type(backbone).__name__
        raise ValueError(f"afa takes its affinity from a Mix Transformer (mit_b0 … mit_b5); got a {given}")
    last = range(-backbone.net.config.depths[-1], 0)
    if any(block not in last for block in blocks):
        raise ValueError(f"attention_blocks {tuple(blocks)} given; accepted: blocks {list(last)} of the last stage")
