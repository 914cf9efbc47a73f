"""Naming schemes of published vision transformers, as renaming rules for `load_published`."""

from __future__ import annotations

from collections.abc import Iterable

from wsss.backbones.rules import Rules


def _projection(published: str, own: str) -> Rules:
    """Rules for DINO heads with the older torch.nn.utils.weight_norm."""
    weight = f"{own}.last.parametrizations.weight.original"
    return (
        (rf"{published}\.mlp\.", f"{own}.mlp."),
        (rf"{published}\.last_layer\.weight_g$", f"{weight}0"),
        (rf"{published}\.last_layer\.weight_v$", f"{weight}1"),
    )


VIT_LAYOUTS: dict[str, Rules] = {
    "vit": ((r"head(_dist)?\.", None), (r"(?=.)", "net.")),
    "clip-timm": ((r"head\.weight$", "projection.weight"), (r"head\.bias$", None), (r"(?=.)", "net.")),
    "toco": (
        (r"encoder\.head\.", None),
        (r"encoder\.", "backbone.net."),
        *_projection("proj_head", "student"),
        *_projection("proj_head_t", "teacher"),
    ),
    "acr": (
        (r"pretrained\.model\.(head\.|bkg_token$)", None),
        (r"scratch\.", None),
        (r"pretrained\.model\.", "backbone.net."),
        (r"cls_head\.", "classifier."),
    ),
}
"""Layout → rules: ImageNet files with timm's names (ViT, DeiT, hybrids), ToCo and ACR.

Parts of ACR's parent network that it does not use, a background token and a depth decoder's convolutions, are dropped.
Its hybrid needs `ViTBackbone(…, position_interpolation="bilinear", sigma_eps=1e-5)`.
"""


def detect_vit_layout(names: Iterable[str]) -> str | None:
    """The key of `VIT_LAYOUTS` of these names; None for other networks."""
    names = set(names)
    if "encoder.pos_embed" in names and "proj_head.last_layer.weight_g" in names:
        return "toco"
    if "pretrained.model.pos_embed" in names:
        return "acr"
    placed = {"pos_embed", "reg_token"} & names  # DINOv3 has no table
    return "vit" if placed and "blocks.0.attn.qkv.weight" in names else None
