"""A whole CLIP of random weights, small enough for tests, as OpenAI's file names it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

WIDTH, TEXT_WIDTH, JOINT, VOCABULARY = 32, 16, 12, 49408
BACKBONE = {
    "name": "vit_base_patch16_clip_quickgelu_224",
    "pretrained": False,
    "options": {"img_size": 64, "embed_dim": WIDTH, "depth": 3, "num_heads": 2, "projection": JOINT},
}


def save_clip(path: Path, *, text: bool = True) -> Path:
    """Writes both towers, or the image tower alone."""
    generator = torch.Generator().manual_seed(0)
    shapes = _tower("visual.transformer.", WIDTH, 3) | {
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": (17, WIDTH),
        "visual.proj": (WIDTH, JOINT),
        "visual.conv1.weight": (WIDTH, 3, 16, 16),
        **{f"visual.ln_{part}.{kind}": (WIDTH,) for part in ("pre", "post") for kind in ("weight", "bias")},
    }
    if text:
        shapes |= _tower("transformer.", TEXT_WIDTH, 1) | {
            "positional_embedding": (77, TEXT_WIDTH),
            "text_projection": (TEXT_WIDTH, JOINT),
            "token_embedding.weight": (VOCABULARY, TEXT_WIDTH),
            "ln_final.weight": (TEXT_WIDTH,),
            "ln_final.bias": (TEXT_WIDTH,),
            "logit_scale": (),
        }
    save_file({name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path)
    return path


def _tower(prefix: str, width: int, blocks: int) -> dict[str, tuple[int, ...]]:
    parts = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        **{f"ln_{i}.{kind}": (width,) for i in (1, 2) for kind in ("weight", "bias")},
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
    }
    return {f"{prefix}resblocks.{i}.{name}": shape for i in range(blocks) for name, shape in parts.items()}
