"""How published checkpoints name what this package's networks contain."""

from __future__ import annotations

from collections.abc import Iterable

Rules = tuple[tuple[str, str | None], ...]
"""(pattern at the start of a name, replacement or None to drop the entry); the first match counts."""

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
    # IRN registers its ResNet-50 three times: resnet50.*, stage1 … 4 and backbone.* are the same tensors.
    "irn-cam": (
        (r"resnet50\.fc\.", None),
        (r"resnet50\.", "backbone.net."),
        (r"(stage\d|backbone|newly_added)\.", None),
        (r"classifier\.", "classifier."),
    ),
}
"""By checkpoint: the ImageNet ResNet-38 (converted, MXNet), PSA, SEAM (its AffinityNet is PSA's) and IRN."""


def detect_layout(names: Iterable[str]) -> str | tuple[()]:
    """Which of `LAYOUTS` the names belong to; no rules at all (`()`) for a state dict of our own names."""
    names = set(names)
    if any(name.startswith("arg:") for name in names):
        return "resnet38-mxnet"
    if any(name.startswith("resnet50.") for name in names):
        return "irn-cam"
    if "conv1a.weight" not in names:
        return ()
    if "f8_5.weight" in names:
        return "psa-aff"
    if "fc8.weight" in names:
        return "seam" if "f9.weight" in names else "psa-cls"
    return "resnet38"
