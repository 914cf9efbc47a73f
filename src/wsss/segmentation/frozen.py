"""A trained decoder on the tokens of a frozen transformer (WeCLIP's decoder, Zhang et al. 2024, §3.2, for any ViT)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from wsss.backbones.base import Backbone
from wsss.backbones.tokens import TransformerBackbone
from wsss.runtime.tensors import resize
from wsss.segmentation.network import Segmenter
from wsss.segmentation.token_decoder import OnFrozen, TokenHead, require_blocks


class FrozenTokens(OnFrozen, Segmenter):
    """`TokenHead` on a frozen transformer.

    Args:
        backbone: a ViT, CLIP or DINO. blocks: those whose outputs are used; None: all but the last (published).
        width, layers, heads: of the decoder.

    Raises:
        ValueError: a backbone without tokens, or blocks that it does not have.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        blocks: Sequence[int] | None,
        width: int,
        layers: int,
        heads: int,
    ) -> None:
        super().__init__()
        backbone = require_tokens(backbone)
        self.blocks = list(range(max(backbone.depth - 1, 1))) if blocks is None else list(blocks)
        require_blocks(backbone, self.blocks, "blocks")
        self.encoder = backbone.requires_grad_(False).eval()
        self.head = TokenHead(len(self.blocks), backbone.channels, num_classes, width, layers, heads)
        self.mean, self.std = backbone.mean, backbone.std
        self.class_names = [str(i) for i in range(num_classes)]

    def load_encoder(self, backbone: Backbone) -> None:
        try:
            self.encoder.load_state_dict(backbone.state_dict())
        except RuntimeError as error:
            raise ValueError(
                "segmentation and classifier need the same backbone for init: classifier "
                f"({' '.join(str(error).split())[:200]})"
            ) from None

    def forward(self, images: Tensor) -> Tensor:
        return resize(self.head(self.block_maps(images, self.blocks)), images.shape[-2:], align_corners=False)


def require_tokens(backbone: Backbone) -> TransformerBackbone:
    """The backbone, if it is a transformer; else ValueError."""
    if not isinstance(backbone, TransformerBackbone):
        given = type(backbone).__name__
        raise ValueError(f"TokenDecoder reads a transformer's tokens (vit_*, deit_*, CLIP, DINO); got a {given}")
    return backbone
