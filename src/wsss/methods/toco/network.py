"""ToCo: Ru et al., "Token Contrast for Weakly-Supervised Semantic Segmentation", CVPR 2023."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from wsss.backbones.tokens import Tokens
from wsss.backbones.vit import ViTBackbone
from wsss.data.batch import Batch
from wsss.localise.fusion import multi_scale_cam
from wsss.localise.seeds import band_labels, ignore_outside, present_scores
from wsss.methods.base import Method
from wsss.methods.shared import balanced_cross_entropy, denormalise, labels_by_par
from wsss.methods.toco.losses import ctc_loss, ptc_loss, token_pairs
from wsss.methods.toco.settings import Settings
from wsss.methods.toco.views import (
    confidence_regions,
    corners_of,
    crop_candidates,
    cut,
    draw_ranks,
    positive_crops,
    second_view,
)
from wsss.refine.crf.energy import dense_energy_loss
from wsss.runtime import distributed
from wsss.runtime.tensors import resize
from wsss.segmentation.dilated import ToCoLargeFOV

WEIGHTS = {"cls": 1.0, "cls_aux": 1.0, "ptc": 0.2, "ctc": 0.5, "seg": 0.1, "energy": 0.05}
STARTS = {"cls": 0, "cls_aux": 0, "ptc": 0, "ctc": 0, "seg": 2000, "energy": 2000}


class ToCo(Method):
    """A transformer whose over-smoothed final tokens are supervised by an intermediate block's CAM, and a decoder.

    The backbone is a `ViTBackbone`.

    Raises:
        ValueError: `aux_block` is none of the backbone's blocks.
    """

    def __init__(self, backbone: ViTBackbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__()
        if not -backbone.depth <= settings.aux_block < backbone.depth:
            raise ValueError(f"aux_block is {settings.aux_block}; the backbone has {backbone.depth} blocks")
        self.settings, self.backbone, self.num_classes = settings, backbone, len(class_names) - 1
        self.weights, self.starts = WEIGHTS | (settings.weights or {}), STARTS | settings.starts
        self.begins = {f"starts.{name}": step for name, step in self.starts.items() if self.weights[name]}
        self.crop_scales = settings.cam_scales
        backbone.net.pos_embed.requires_grad_(not settings.freeze_positions)
        width = backbone.channels
        self.classifier = nn.Conv2d(width, self.num_classes, 1, bias=False)
        self.aux_classifier = nn.Conv2d(width, self.num_classes, 1, bias=False)
        self.decoder = ToCoLargeFOV(width, len(class_names))
        self.student = ProjectionHead(width, *settings.projection)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted loss terms; also updates the teacher head.

        A term before its first step is 0 but stays in the graph, so that every step of a distributed run has the same
        parameters. `batch.extra`: `view2` is the second global view (default: a distortion of the images), `local` the
        source of the local crops (default: the images).
        """
        images, labels = batch.images, batch.labels
        tokens = self.tokens(images)
        cams, aux_cams = self.cams(images)
        pairs = token_pairs(self._token_labels(aux_cams, batch, tokens.grid))
        losses = {
            "cls": F.multilabel_soft_margin_loss(_classify(self.classifier, tokens.final_map), labels),
            "cls_aux": F.multilabel_soft_margin_loss(self.aux_logits(tokens), labels),
            "ptc": self._counted(ptc_loss, tokens.final_map, pairs),
            "ctc": self._class_token_contrast(batch, tokens.class_token, aux_cams),
        }
        logits = self.decoder(tokens.final_map)
        if step >= min(self.starts["seg"], self.starts["energy"]):
            losses |= self._segmentation(batch, logits, aux_cams if step < self.settings.aux_labels_until else cams)
        else:
            losses |= {"seg": logits.sum(), "energy": logits.sum()}
        return {name: (self.weights[name] if step >= self.starts[name] else 0) * loss for name, loss in losses.items()}

    def require_batch(self, images: int, edge: int) -> None:
        distributed.require_groups(images, self.settings.counted_images)
        crop_candidates(torch.zeros(1, edge, edge), self.settings.crop_size, self.settings.local_crops)

    def _counted(self, loss: Callable[..., Tensor], *batch: Tensor) -> Tensor:
        return distributed.counted_by(self.settings.counted_images, loss, *batch)

    @torch.no_grad()
    def cams(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Multi-scale final and auxiliary CAM, (B, K, H, W) each, in [0, 1)."""

        def scores(views: Tensor) -> tuple[Tensor, Tensor]:
            tokens = self.tokens(views)
            return self.class_scores(tokens), self.aux_class_scores(tokens)

        return multi_scale_cam(scores, images, self.settings.cam_scales)

    def activation_maps(self, images: Tensor) -> Tensor:
        return F.relu(self.class_maps(images))

    def class_maps(self, images: Tensor) -> Tensor:
        return self.classifier(self.backbone(images))

    def aux_maps(self, images: Tensor) -> Tensor:
        """The auxiliary classifier at every position (B, K, h, w), before ReLU."""
        return self.aux_class_scores(self.tokens(images))

    def logits(self, images: Tensor) -> Tensor:
        return _classify(self.classifier, self.backbone(images))

    def segment_logits(self, images: Tensor) -> Tensor:
        """The decoder's class scores (B, C, h, w) of normalised images (B, 3, H, W), background first."""
        return self.decoder(self.backbone(images))

    def head_parameters(self) -> list[nn.Parameter]:
        heads = (self.classifier, self.aux_classifier, self.decoder, self.student)
        return [parameter for head in heads for parameter in head.parameters()]

    def tokens(self, images: Tensor) -> Tokens:
        """One pass with the final and the auxiliary block's tokens; the latter pass no final norm."""
        return self.backbone.tokens(images, blocks=[self.settings.aux_block])

    def class_scores(self, tokens: Tokens) -> Tensor:
        """The classifier at every position (B, K, h, w), before ReLU."""
        return self.classifier(tokens.final_map)

    def aux_class_scores(self, tokens: Tokens) -> Tensor:
        """The auxiliary classifier at every position (B, K, h, w), before ReLU."""
        return self.aux_classifier(tokens.block_map(self.settings.aux_block))

    def aux_logits(self, tokens: Tokens) -> Tensor:
        """Class scores (B, K) of the auxiliary classifier."""
        return _classify(self.aux_classifier, tokens.block_map(self.settings.aux_block))

    def project(self, global_tokens: Tensor, local_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Student's projections of all views (V, B, D') and teacher's of the global ones (G, B, D').

        global_tokens: (G, B, D) and local_tokens: (V − G, B, D), class tokens. The teacher is updated before use.
        """
        self.update_teacher()
        with torch.no_grad():
            teacher = self.teacher(global_tokens.detach())
        return self.student(torch.cat([global_tokens, local_tokens])), teacher

    @torch.no_grad()
    def update_teacher(self) -> None:
        """Exponential moving average of the student head: t ← m·t + (1 − m)·s."""
        for teacher, student in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            teacher.lerp_(student, 1 - self.settings.momentum)

    def _token_labels(self, aux_cams: Tensor, batch: Batch, grid: tuple[int, int]) -> Tensor:
        """Labels of the patch tokens (B, h, w) with an ignored band and ignored padding (§3.2)."""
        padding = ignore_outside(torch.zeros_like(aux_cams[:, 0], dtype=torch.uint8), batch.boxes)
        scores = present_scores(resize(aux_cams, grid, align_corners=False), batch.labels)
        labels = band_labels(
            scores, self.settings.high_threshold, self.settings.low_threshold, self.settings.high_threshold
        )
        return torch.maximum(labels, resize(padding[:, None], grid, mode="nearest-exact")[:, 0])

    def _class_token_contrast(self, batch: Batch, class_token: Tensor, aux_cams: Tensor) -> Tensor:
        """Class-token contrast: crops uncertain in the auxiliary CAM are positive, background crops negative (§3.3)."""
        regions = confidence_regions(aux_cams, batch.labels, self.settings.low_threshold, self.settings.high_threshold)
        candidates = crop_candidates(regions, self.settings.crop_size, self.settings.local_crops)
        corners = corners_of(candidates, draw_ranks(candidates, self.settings.local_crops))
        crops = cut(batch.extra.get("local", batch.images), corners, self.settings.crop_size)  # (n, B, 3, s, s)
        view = batch.extra.get("view2")
        view = second_view(batch.images, self.backbone.mean, self.backbone.std) if view is None else view
        global_tokens = torch.stack([class_token, self.backbone.tokens(view).class_token])
        local_tokens = self.backbone.tokens(crops.flatten(0, 1)).class_token.unflatten(0, crops.shape[:2])
        student, teacher = self.project(global_tokens, local_tokens)
        positive = positive_crops(regions, corners, self.settings.crop_size)
        return ctc_loss(student, teacher, F.pad(positive, (2, 0), value=1.0), self.settings.temperature)

    def _segmentation(self, batch: Batch, logits: Tensor, cams: Tensor) -> dict[str, Tensor]:
        """The decoder's loss on refined labels, and its dense energy (§3.1)."""
        mean, std = self.backbone.mean, self.backbone.std
        labels = labels_by_par(
            denormalise(batch.images, mean, std),
            cams,
            batch.labels,
            batch.boxes,
            low=self.settings.low_threshold,
            high=self.settings.high_threshold,
        )
        logits = resize(logits, tuple(labels.shape[-2:]), align_corners=False)
        chosen = self.settings
        energy = dense_energy_loss(
            batch.images,
            logits,
            labels,
            batch.boxes,
            mean,
            std,
            sigma_rgb=chosen.energy_sigma_rgb,
            sigma_xy=chosen.energy_sigma_xy,
            kernel=chosen.energy_kernel,
        )
        return {"seg": self._counted(balanced_cross_entropy, logits, labels), "energy": energy}


class ProjectionHead(nn.Module):
    """DINO's head: a 3-layer MLP, L2 normalisation, a linear map of unit-length rows (Caron 2021, app. C)."""

    def __init__(self, channels: int, hidden: int = 2048, bottleneck: int = 256, output: int = 1024) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.mlp[::2]:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.last = weight_norm(nn.Linear(bottleneck, output, bias=False))
        lengths = self.last.parametrizations.weight.original0
        lengths.data.fill_(1.0)
        lengths.requires_grad_(False)

    def forward(self, class_tokens: Tensor) -> Tensor:
        """(…, D) → (…, output)."""
        return self.last(F.normalize(self.mlp(class_tokens), dim=-1))


def _classify(classifier: nn.Conv2d, features: Tensor) -> Tensor:
    """Class scores (B, K): maximum of each feature over positions, then the classifier."""
    return classifier(F.adaptive_max_pool2d(features, 1)).flatten(1)
