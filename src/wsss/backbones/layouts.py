"""Naming schemes of published checkpoints, as renaming rules to this package's names."""

from __future__ import annotations

from collections.abc import Iterable

from wsss.backbones.clip_checkpoints import is_clip
from wsss.backbones.dino_checkpoints import dino_layout
from wsss.backbones.rules import Rules
from wsss.backbones.vit_checkpoints import VIT_LAYOUTS, detect_vit_layout

_TRUNK = (r"(conv1a|b\d(?:_\d)?|bn7)\.", r"backbone.\1.")

_MXNET = (
    (r"arg:conv1a_weight$", "conv1a.weight"),
    (r"arg:linear1000_", None),
    (r"arg:res(\d)a_(branch\w+)_weight$", r"b\1.conv_\2.weight"),
    (r"arg:res(\d)b(\d)_(branch\w+)_weight$", r"b\1_\2.conv_\3.weight"),
)


def _mxnet_norms() -> Rules:
    """bn3b1_branch2a_gamma → b3_1.bn_branch2a.weight, and the same for beta and the moving statistics."""
    kinds = {
        "arg:{}_gamma$": "weight",
        "arg:{}_beta$": "bias",
        "aux:{}_moving_mean$": "running_mean",
        "aux:{}_moving_var$": "running_var",
    }
    blocks = {
        r"bn(\d)a_(branch\w+?)": r"b\1.bn_\2.",
        r"bn(\d)b(\d)_(branch\w+?)": r"b\1_\2.bn_\3.",
        "bn7": "bn7.",
    }
    return tuple((p.format(b), to + kind) for p, kind in kinds.items() for b, to in blocks.items())


LAYOUTS: dict[str, Rules] = {
    "resnet38": (),
    "resnet38-mxnet": (*_MXNET, *_mxnet_norms()),
    "psa-cls": (_TRUNK, (r"fc8\.", "classifier.")),
    "seam": (
        _TRUNK,
        (r"fc8\.", "classifier."),
        (r"f8_3\.", "pcm.shallow."),
        (r"f8_4\.", "pcm.deep."),
        (r"f9\.", "pcm.embed."),
    ),
    "psa-aff": (
        _TRUNK,
        (r"f8_3\.", "projections.0."),
        (r"f8_4\.", "projections.1."),
        (r"f8_5\.", "projections.2."),
        (r"f9\.", "fusion."),
    ),
    # IRN registers every part twice or more; each tensor is taken under its first name.
    "irn-edge": (
        (r"resnet50\.fc\.", None),
        (r"resnet50\.", "backbone.net."),
        (r"mean_shift\.running_mean", "mean_displacement"),
        *((rf"fc_edge{i + 1}\.", f"boundary_levels.{i}.") for i in range(5)),
        (r"fc_edge6\.", "boundary_head."),
        *((rf"fc_dp{i + 1}\.", f"displacement_levels.{i}.") for i in range(5)),
        (r"fc_dp6\.", "displacement_deep."),
        (r"fc_dp7\.3\.", "displacement_head.2."),
        (r"fc_dp7\.4\.", None),
        (r"fc_dp7\.", "displacement_head.0."),
        (r"(stage\d|backbone|edge_layers|dp_layers)\.", None),
    ),
    # IRN registers its ResNet-50 three times: resnet50.*, stage1 … 4 and backbone.* are the same tensors.
    "irn-cam": (
        (r"resnet50\.fc\.", None),
        (r"resnet50\.", "backbone.net."),
        (r"(stage\d|backbone|newly_added)\.", None),
        (r"classifier\.", "classifier."),
    ),
}
"""Layout → rules: ImageNet ResNet-38 (converted, MXNet), PSA, SEAM (its AffinityNet is PSA's) and IRN."""
LAYOUTS |= VIT_LAYOUTS


def detect_layout(names: Iterable[str]) -> str | tuple[()]:
    """The layout of these names: a key of `LAYOUTS`, `mit`, `afa`, `clip` or a DINO's; `()` for this package's."""
    names = set(names)
    if any(name.startswith("arg:") for name in names):
        return "resnet38-mxnet"
    if is_clip(names):
        return "clip"
    if dino := dino_layout(names):
        return dino
    if "patch_embed1.proj.weight" in names:
        return "mit"
    if "encoder.patch_embed1.proj.weight" in names:
        return "afa"
    if vit := detect_vit_layout(names):
        return vit
    if any(name.startswith("fc_edge1.") for name in names):
        return "irn-edge"
    if any(name.startswith("resnet50.") for name in names):
        return "irn-cam"
    if "conv1a.weight" not in names:
        return ()
    if "f8_5.weight" in names:
        return "psa-aff"
    if "fc8.weight" in names:
        return "seam" if "f9.weight" in names else "psa-cls"
    return "resnet38"
