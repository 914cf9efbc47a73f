"""Check, before any work starts, that pretrained weights can be downloaded."""

from __future__ import annotations

from collections.abc import Iterator

from wsss.backbones.reach import unreachable
from wsss.config.common import settings_below
from wsss.config.sections import Backbone
from wsss.plan.steps import Step

OWN = ("resnet38", "mit_b")
"""Prefixes of the names of networks that are not timm's and have no downloads."""


def unreachable_weights(steps: list[Step]) -> str | None:
    """One line on the first network whose weights are neither on this machine nor reachable; None if there is none."""
    return next(filter(None, map(unreachable, dict.fromkeys(_downloaded(steps)))), None)


def _downloaded(steps: list[Step]) -> Iterator[str]:
    for step in steps:
        if getattr(step.settings, "init", "backbone") != "backbone":
            continue
        for _, backbone in settings_below(step.settings, Backbone):
            downloads = backbone.pretrained and backbone.checkpoint is None and backbone.weights is None
            if downloads and not backbone.name.startswith(OWN):
                yield backbone.name
