"""ACR: Sun et al., "All-pairs Consistency Learning for Weakly Supervised Segmentation", ICCVW 2023."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.tokens import Tokens
from wsss.backbones.vit import ViTBackbone
from wsss.data.batch import Batch
from wsss.methods.acr.settings import Settings
from wsss.methods.base import Method


class ACR(Method):
    """A transformer trained so that its attention between all pairs of tokens agrees in an image and its mirror.

    The backbone is a `ViTBackbone`.

    Raises:
        ValueError: `start_layer` is none of the backbone's blocks.
    """

    def __init__(self, backbone: ViTBackbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__()
        if not -backbone.depth <= settings.start_layer < backbone.depth:
            raise ValueError(f"start_layer is {settings.start_layer}; the backbone has {backbone.depth} blocks")
        self.settings, self.backbone, self.num_classes = settings, backbone, len(class_names) - 1
        self.off = [name for name in ("class_rows", "patch_pairs") if not getattr(settings, name)]
        self.classifier = nn.Linear(backbone.channels, self.num_classes)
        backbone.net.norm.requires_grad_(False)  # no loss depends on it: scores are read before it

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Classification of both views and consistency of their attention (eq. 3-6)."""
        tokens = self.tokens(torch.cat([batch.images, batch.images.flip(-1)]))
        image, mirror = self.scores(tokens).chunk(2)
        attention = tokens.mean_attention().chunk(2)
        terms = acr_losses((image, mirror), attention, batch.labels, tokens.grid, self.settings.alpha)
        return {name: term for name, term in terms.items() if name not in self.off}

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.activation_maps(images, labels)

    def activation_maps(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Class maps (B, K, h, w) ≥ 0; works under `no_grad` and `inference_mode`.

        labels: (B, K); the gradient localisation takes one backward pass through the last blocks per class, and
        skips the classes that no image has.
        """
        if self.settings.localisation == "patch":
            return F.relu(self.class_maps(images))
        classes = range(self.num_classes) if labels is None else labels.any(0).nonzero().flatten().tolist()
        with torch.inference_mode(False), torch.enable_grad():
            # The input requires a gradient, so that the attention has one even if all weights are frozen.
            tokens = self.tokens(images.detach().clone().requires_grad_())
            scores = self.scores(tokens)
            grads = [self.attention_gradients(tokens, scores, k) for k in classes]
        attention = [heads.detach() for heads in tokens.attention]
        maps = images.new_zeros(len(images), self.num_classes, tokens.grid[0] * tokens.grid[1])
        for k, grad in zip(classes, grads, strict=True):
            maps[:, k] = class_token_map(
                attention[self.settings.start_layer :], grad, self.settings.gradient_mode, tokens.num_prefix
            )
        if self.settings.refine:
            maps = attended(maps, attention, tokens.num_prefix)
        return maps.unflatten(2, tokens.grid)

    def class_maps(self, images: Tensor) -> Tensor:
        if self.settings.localisation == "patch":
            return self.patch_scores(self.backbone.tokens(images, blocks=[-1]))
        return self.activation_maps(images)

    def logits(self, images: Tensor) -> Tensor:
        return self.scores(self.backbone.tokens(images, blocks=[-1]))

    def head_parameters(self) -> list[nn.Parameter]:
        return list(self.classifier.parameters())

    def tokens(self, images: Tensor) -> Tokens:
        """One pass with the last block's tokens and every block's attention."""
        return self.backbone.tokens(images, blocks=[-1], attention=True)

    def scores(self, tokens: Tokens) -> Tensor:
        """Class scores (B, K) of the class token, read before the final norm."""
        return self.classifier(tokens.blocks[-1][:, 0])

    def patch_scores(self, tokens: Tokens) -> Tensor:
        """The classifier at every patch (B, K, h, w), before ReLU."""
        return self.classifier(tokens.block_map(-1).movedim(1, -1)).movedim(-1, 1)

    def attention_gradients(self, tokens: Tokens, scores: Tensor, k: int) -> list[Tensor]:
        """Gradient of class k's score with respect to the attention of each block from `start_layer` on."""
        blocks = tokens.attention[self.settings.start_layer :]
        return list(torch.autograd.grad(scores[:, k].sum(), blocks, retain_graph=True))


def acr_losses(
    scores: tuple[Tensor, Tensor],
    attention: tuple[Tensor, Tensor],
    labels: Tensor,
    grid: tuple[int, int],
    alpha: float,
) -> dict[str, Tensor]:
    """The terms of eq. 6 by name. scores: (B, K), attention: (B, L, 1+N, 1+N), each a pair (image, mirror)."""
    rows, pairs = consistency_losses(*attention, grid)
    return {
        "cls": F.multilabel_soft_margin_loss(scores[0], labels),
        "cls_mirror": F.multilabel_soft_margin_loss(scores[1], labels),
        "class_rows": alpha * rows,
        "patch_pairs": alpha * pairs,
    }


def consistency_losses(image: Tensor, mirror: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """L1 distances, averaged over blocks, of class→patch rows and of patch→patch blocks (eq. 4, 5); scalars.

    image, mirror: (B, L, 1+N, 1+N), head-averaged attention of the images and of their mirrors; N = h·w.
    """
    rows = F.l1_loss(image[:, :, :1, 1:], unflip_class_rows(mirror, grid))
    pairs = F.l1_loss(image[:, :, 1:, 1:], unflip_patch_blocks(mirror, grid))
    return rows, pairs


def unflip_class_rows(attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """The class token's attention to the patches, its columns flipped back: (B, L, 1, N)."""
    return attention[..., :1, 1:].unflatten(-1, grid).flip(-1).flatten(-2)


def unflip_patch_blocks(attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """The attention between patches, its rows and columns flipped back: (B, L, N, N)."""
    patches = attention[..., 1:, 1:].unflatten(-1, grid).unflatten(-3, grid)  # (B, L, h, w, h, w)
    return patches.flip((-3, -1)).flatten(-2).flatten(-3, -2)


def class_token_map(
    attention: Sequence[Tensor], gradients: Sequence[Tensor], mode: str = "grad", num_prefix: int = 1
) -> Tensor:
    """Relevance (B, N) ≥ 0 of each patch for the class score, from the class token's attention (§3.4).

    attention, gradients: per block (B, heads, P+N, P+N), A and G. With g = mean over heads of ReLU(G) and
    c = mean over heads of ReLU(A·G), the result is the sum over blocks of
    "grad" g, "grad_s" g², "cam_grad" c, or "cam_grad_s" c·g.
    """
    total = torch.zeros_like(gradients[0][:, 0, 0, num_prefix:])
    for maps, grads in zip(attention, gradients, strict=True):
        rows, slopes = maps[:, :, 0, num_prefix:], grads[:, :, 0, num_prefix:]
        weight = slopes.relu().mean(1)
        relevance = weight if mode in ("grad", "grad_s") else (rows * slopes).relu().mean(1)
        total += relevance * weight if mode.endswith("_s") else relevance
    return total


def attended(maps: Tensor, attention: Sequence[Tensor], num_prefix: int = 1) -> Tensor:
    """Maps (B, K, N) multiplied by the patches' head-averaged attention, summed over all blocks."""
    affinity = sum(heads[:, :, num_prefix:, num_prefix:].mean(1) for heads in attention)  # (B, N, N)
    return torch.einsum("bij,bkj->bki", affinity, maps)
