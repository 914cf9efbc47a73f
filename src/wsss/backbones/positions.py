"""Interpolation of position embeddings to another grid, by the rules of the published implementations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor

RULES = ("bicubic", "bilinear", "antialias", "hub", "bilinear-half")
_HUB_OFFSET = 0.1


def interpolate_positions(table: Tensor, grid: tuple[int, int], old: tuple[int, int], prefix: int, rule: str) -> Tensor:
    """Table (1, prefix + h₀·w₀, D) of grid `old`, resized to `grid`: (1, prefix + h·w, D); prefix entries unchanged.

    rule, all with align_corners=False:
        bicubic        ToCo; to the output size, without anti-aliasing
        bilinear       ACR
        antialias      timm, and DINOv2's hub with registers: bicubic with anti-aliasing
        hub            DINOv2's hub without registers: bicubic by the factors (h + 0.1)/h₀ and (w + 0.1)/w₀
        bilinear-half  CLIP-ES: bilinear, all entries rounded to float16

    Raises:
        ValueError: unknown rule.
    """
    check_rule(rule)
    if rule == "hub":
        return _by_factor(table, grid, old, prefix)
    positions = resample_abs_pos_embed(
        table,
        new_size=list(grid),
        old_size=list(old),
        num_prefix_tokens=prefix,
        interpolation="bilinear" if rule.startswith("bilinear") else "bicubic",
        antialias=rule == "antialias",
        align_corners=False,
    )
    return positions.to(torch.float16).to(table.dtype) if rule == "bilinear-half" else positions


def default_rule(name: str) -> str:
    """The rule of the original implementation of timm's network `name`: DINOv2's hub, CLIP-ES's, else bicubic."""
    if "_dinov2" in name:
        return "antialias" if "_reg" in name else "hub"
    return "bilinear-half" if "_clip_" in name else "bicubic"


def check_rule(rule: str) -> None:
    """Raises ValueError for an unknown rule."""
    if rule not in RULES:
        accepted = ", ".join(f"'{name}'" for name in RULES)
        raise ValueError(f"position_interpolation is '{rule}'; choose one of {accepted}")


def _by_factor(table: Tensor, grid: tuple[int, int], old: tuple[int, int], prefix: int) -> Tensor:
    if tuple(grid) == tuple(old):
        return table
    kept, patches = table[:, :prefix], table[:, prefix:]
    factors = [(new + _HUB_OFFSET) / size for new, size in zip(grid, old, strict=True)]
    plane = patches.unflatten(1, tuple(old)).permute(0, 3, 1, 2)
    plane = F.interpolate(plane, scale_factor=factors, mode="bicubic", align_corners=False)
    return torch.cat([kept, plane.flatten(2).transpose(1, 2)], dim=1)
