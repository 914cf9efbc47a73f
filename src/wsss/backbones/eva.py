"""DINOv3's transformers (Siméoni 2025): registers, and rotary positions instead of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.eva import Eva
from torch import Tensor, nn

from wsss.backbones.attention import block_fault
from wsss.backbones.timm import create_network
from wsss.backbones.tokens import Embedded, TransformerBackbone


class EvaBackbone(TransformerBackbone):
    """`timm.create_model(name, …)` of the class `Eva` with a class token and rotary positions (vit_*_dinov3).

    The rotation of a patch depends on its position as a share of each side, so that any grid is possible. timm computes
    the periods in float32; the official files store them in bfloat16.

    Args:
        name: timm's name. pretrained: download the published weights (they have a licence of their own).
        checkpoint_path: a local checkpoint of the same network.
        mean, std: input normalisation, if a checkpoint needs another one than timm's for `name`.
        options: extra keyword arguments for timm.

    Raises:
        ValueError: timm does not know the name or an argument, or the network is of another class.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        checkpoint_path: str = "",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        arguments = {"dynamic_img_size": True, "num_classes": 0} | dict(options or {})
        net = create_network(name, arguments, pretrained=pretrained, checkpoint_path=checkpoint_path)
        _require_rotary(name, net)
        super().__init__(net, mean, std)

    def embed(self, images: Tensor) -> Embedded:
        net = self.net
        patches = net.patch_embed(self._to_whole_patches(images))  # (B, h, w, D)
        grid = (patches.shape[1], patches.shape[2])
        prefix = [token.expand(len(images), -1, -1) for token in (net.cls_token, net.reg_token) if token is not None]
        x = torch.cat([*prefix, patches.flatten(1, 2)], dim=1)
        return Embedded(net.norm_pre(x), grid, net.rope.get_embed(shape=grid))


def _require_rotary(name: str, net: nn.Module) -> None:
    """Raise ValueError unless the network has rotary positions only and blocks that `block_with_attention` supports."""
    if not isinstance(net, Eva) or net.cls_token is None or net.pos_embed is not None or net.rope is None:
        raise ValueError(
            f"'{name}' is a {type(net).__name__}; accepted are timm's Eva networks with a class token and rotary "
            "positions alone (vit_*_dinov3)"
        )
    for fault in filter(None, map(block_fault, net.blocks)):
        raise ValueError(f"'{name}' has blocks of the kind {fault}; accepted is EvaBlock with EvaAttention")
    if getattr(net, "rope_mixed", False):
        raise ValueError(f"'{name}' learns its rotations; accepted are fixed ones")
