"""The catalogue of published weight files (`weights.yaml`): names, files, addresses, sizes and licences."""

from __future__ import annotations

import functools
from importlib import resources

import yaml
from pydantic import Field, PositiveInt

from wsss.config.common import Section

PREFIX = "published:"


class KnownWeights(Section):
    """A published weight file."""

    file: str = Field(description="the name under which it was published")
    holds: str = Field(description="short description of the content")
    url: str | None = Field(None, pattern=r"^https://", description="null: no public URL")
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="null: not published in full, so that nothing is downloaded"
    )
    megabytes: PositiveInt | None = Field(
        None, description="approximate size; from the number of float32 values where not measured"
    )
    licence: str = Field(description="of the weights, as their publisher states it")
    where: str = Field(description="where the user can get it")


@functools.cache
def known_weights() -> dict[str, KnownWeights]:
    """Name → entry of the catalogue."""
    text = (resources.files("wsss.config") / "weights.yaml").read_text(encoding="utf-8")
    return {name: KnownWeights.model_validate(entry) for name, entry in yaml.safe_load(text).items()}
