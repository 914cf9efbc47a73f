"""SEAM: self-supervised equivariant attention (Wang et al., CVPR 2020, arXiv 2004.04581)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.backbones.stages import stage_channels
from wsss.data.batch import Batch
from wsss.methods.base import Method
from wsss.methods.seam.affine import WarpFamily
from wsss.methods.seam.correlation import PixelCorrelation
from wsss.methods.seam.losses import View, classification_loss, normalised_seed, siamese_losses
from wsss.methods.seam.settings import Settings
from wsss.runtime.tensors import resize


class Seam(Method):
    """Trains two views of an image to have equal maps (ER), also after revision by pixel affinities (PCM, ECR).

    Without `er` and `pcm` a single view is trained: the CAM baseline.
    """

    def __init__(self, backbone: Backbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__()
        self.num_classes = len(class_names) - 1
        self.er, self.ecr, self.ohem, self.min_pool = settings.er, settings.ecr, settings.ohem, settings.min_pool
        self.weights = {"er": settings.er_weight, "ecr": settings.ecr_weight}
        low, high = settings.rescale
        self.translation = settings.translation
        self.crop_scales = settings.rescale if self.er or settings.pcm else [1.0]
        self.warps = WarpFamily((low, high), settings.flip, settings.rotation, settings.translation)
        self.taps = settings.taps
        self.backbone = backbone
        self.dropout = nn.Dropout2d(settings.dropout)
        self.classifier = nn.Conv2d(backbone.channels, len(class_names), 1, bias=False)
        nn.init.xavier_uniform_(self.classifier.weight)
        self.pcm = PixelCorrelation([stage_channels(backbone, tap) for tap in settings.taps]) if settings.pcm else None

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The terms `cls`, `er`, `ecr` and `min_pool` that are switched on."""
        if not self.er and self.pcm is None:
            return {"cls": classification_loss(self.view(batch.images).maps, batch.labels)}
        warp = self.warps.draw()
        terms = siamese_losses(
            self.view(batch.images),
            self.view(warp(batch.images)),
            batch.labels,
            warp,
            er=self.er,
            ecr=self.ecr,
            hardest=self.ohem,
            min_pool=self.min_pool,
        )
        return {name: term * self.weights.get(name, 1.0) for name, term in terms.items()}

    def require_batch(self, images: int, edge: int) -> None:
        if self.translation >= edge:
            raise ValueError(f"method.translation {self.translation} leaves nothing of a crop of {edge} px")

    def view(self, images: Tensor) -> View:
        """A and A_rv (B, C, H, W) of one view (B, 3, H, W), upsampled to its size (`align_corners=True`)."""
        features, pyramid = self.backbone.features_and_pyramid(images)
        maps = self.class_scores(features)
        revised = None
        if self.pcm is not None:
            revised = self.pcm(normalised_seed(maps), images, [pyramid[tap] for tap in self.taps])
            revised = resize(revised, images.shape[-2:], align_corners=True)
        return View(resize(maps, images.shape[-2:], align_corners=True), revised)

    def class_scores(self, features: Tensor) -> Tensor:
        """The classifier at every position: (B, C, h, w), float32, of features (B, D, h, w)."""
        return self.classifier(self.dropout(features)).float()

    def activation_maps(self, images: Tensor) -> Tensor:
        """The revised maps, or without PCM ReLU(A): (B, K, H, W), at the images' own size."""
        view = self.view(images)
        return (view.maps.relu() if view.revised is None else view.revised)[:, 1:]

    def affinity_map(self, images: Tensor, row: int, column: int) -> Tensor:
        """Contribution of each cell to one cell's revised scores (Figure 5): (B, h, w), sums to 1.

        row, column: a pixel of the images (B, 3, H, W), 0-based, which selects the cell of the feature grid.

        Raises:
            ValueError: the method was built without PCM.
        """
        if self.pcm is None:
            raise ValueError("an affinity map needs the pixel correlation module (pcm: true)")
        features, pyramid = self.backbone.features_and_pyramid(images)
        height, width = features.shape[-2:]
        cell = row * height // images.shape[2], column * width // images.shape[3]
        return self.pcm.affinity_map(images, [pyramid[tap] for tap in self.taps], (height, width), *cell)

    def logits(self, images: Tensor) -> Tensor:
        maps = self.class_scores(self.backbone(images))
        return resize(maps, images.shape[-2:], align_corners=True).mean((2, 3))[:, 1:]

    def head_parameters(self) -> list[nn.Parameter]:
        return list(chain(self.classifier.parameters(), self.pcm.parameters() if self.pcm else ()))
