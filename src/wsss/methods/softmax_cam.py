"""CLIP-ES's softmax Grad-CAM (Lin et al. 2023, §3.2): maps of a frozen CLIP against background phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wsss.backbones.attention import block_after_norm
from wsss.backbones.clip import CLIPBackbone
from wsss.backbones.tokens import Embedded
from wsss.runtime.tensors import min_max_normalise

EPS = 1e-7


@dataclass(frozen=True)
class Encoded:
    """State of an image tower before its last block.

    last: tokens (B, 1+N, D), input of the last block. attention: (B, N, N), the patches' attention averaged over
    heads and summed over the requested blocks before the last; None if none were requested.
    """

    last: Embedded
    attention: Tensor | None


@dataclass(frozen=True)
class SoftmaxCAM:
    """probs: (B, K+G) over present classes and G phrases. weights: (B, K, D). raw, cams: (B, K, h, w).

    raw is the weighted sum before ReLU, cams lies in [0, 1]; both are 0 for absent classes. attention: (B, N, N), of
    the last block's patches, mean over heads.
    """

    probs: Tensor
    weights: Tensor
    raw: Tensor
    cams: Tensor
    attention: Tensor


@torch.no_grad()
def encode(backbone: CLIPBackbone, images: Tensor, affinity_blocks: int = 0) -> Encoded:
    """All blocks but the last, without gradient, for normalised images (B, 3, H, W).

    affinity_blocks: number of final blocks, the last included, whose attention is summed.
    """
    total: list[Tensor] = []

    def add(_index: int, weights: Tensor) -> None:
        patches = patch_attention(weights, backbone.num_prefix)
        total[:] = [total[0] + patches] if total else [patches]

    end = backbone.depth - 1
    first = min(max(backbone.depth - affinity_blocks, 0), end)
    before = backbone.run(backbone.embed(images), 0, first)
    return Encoded(backbone.run(before, first, end, add), total[0] if total else None)


def patch_attention(weights: Tensor, num_prefix: int) -> Tensor:
    """Attention (B, heads, P+N, P+N) between patches, mean over heads: (B, N, N)."""
    return weights[:, :, num_prefix:, num_prefix:].mean(1)


def softmax_cam(
    backbone: CLIPBackbone, last: Embedded, text: Tensor, logit_scale: float | Tensor, labels: Tensor
) -> SoftmaxCAM:
    """Grad-CAM of every present class's probability, at the output of the last block's first norm.

    One pass through the last block; one backward pass covers the first present class of every image, the next the
    second, and so on. An image's feature is the projected mean of its patches after the final norm, without the class
    token.

    Args:
        last: from `encode`. text: (K+G, E) unit vectors, the K classes first, then the G background phrases.
        logit_scale: factor of the cosines. labels: (B, K), 1 for present classes; others are left out of the softmax.
    """
    labels = labels > 0
    with torch.inference_mode(False), torch.enable_grad():
        tokens = Embedded(last.x.clone(), last.grid, last.rope)
        normed = backbone.net.blocks[-1].norm1(tokens.x).detach().requires_grad_()
        probs, weights = _probabilities(backbone, tokens, normed, text.clone(), logit_scale, labels)
        channel = _channel_weights(probs, normed, labels, backbone.num_prefix)
    patches = normed.detach()[:, backbone.num_prefix :]  # (B, N, D)
    raw = (channel @ patches.transpose(1, 2)).unflatten(2, last.grid)
    cams = stretch(stretch(raw.relu()))
    return SoftmaxCAM(probs.detach(), channel, raw, cams, patch_attention(weights.detach(), backbone.num_prefix))


def _probabilities(
    backbone: CLIPBackbone, tokens: Embedded, normed: Tensor, text: Tensor, scale: float | Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Softmax over present classes and phrases (B, K+G), and the last block's attention."""
    out, weights = block_after_norm(backbone.net.blocks[-1], tokens.x, normed, tokens.rope)
    logits = image_logits(backbone, out, text, scale)
    phrases = labels.new_ones(len(labels), logits.shape[1] - labels.shape[1])
    return logits.masked_fill(~torch.cat([labels, phrases], dim=1), -torch.inf).softmax(1), weights


def image_logits(backbone: CLIPBackbone, out: Tensor, text: Tensor, scale: float | Tensor) -> Tensor:
    """Scaled cosines (B, K+G) of the mean patch with every text, from the last block's output (B, 1+N, D)."""
    feature = backbone.net.norm(out)[:, backbone.num_prefix :].mean(1)
    return scale * backbone.project(feature) @ text.T


def _channel_weights(probs: Tensor, normed: Tensor, labels: Tensor, num_prefix: int) -> Tensor:
    """(B, K, D): ∂p_k/∂normed averaged over patches; 0 for absent classes.

    Each backward pass takes one class of every image, so their number is the largest number of present classes.
    """
    channel = normed.new_zeros(*labels.shape, normed.shape[-1])
    rank = labels.cumsum(1)  # 1 for an image's first present class, 2 for its second …
    for number in range(1, int(labels.sum(1).max()) + 1):
        image, kind = (labels & (rank == number)).nonzero(as_tuple=True)
        (gradient,) = torch.autograd.grad(probs[image, kind].sum(), normed, retain_graph=True)
        channel[image, kind] = gradient[image, num_prefix:].mean(1)
    return channel


def stretch(maps: Tensor) -> Tensor:
    """Maps (…, h, w), min-max normalised with CLIP-ES's ε."""
    return min_max_normalise(maps, EPS)


def text_of(classes: Sequence[Tensor], backgrounds: Tensor) -> Tensor:
    """(K+G, E): the mean of each class's phrases (n, E), normalised to unit length, then the background phrases."""
    means = torch.stack([phrases.mean(0) for phrases in classes])
    return torch.cat([torch.nn.functional.normalize(means, dim=1), backgrounds])
