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
    holds: str = Field(description="what it is, in a few words")
    url: str | None = Field(None, pattern=r"^https://", description="null: no address that a program can fetch")
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="null: nowhere published in full; nothing is downloaded"
    )
    megabytes: PositiveInt | None = Field(
        None, description="about, from its number of float32 values where not measured"
    )
    licence: str = Field(description="of the weights, as their publisher states it")
    where: str = Field(description="where the user gets it")


@functools.cache
def known_weights() -> dict[str, KnownWeights]:
    """Name → what is known of it."""
    text = (resources.files("wsss.config") / "weights.yaml").read_text()
    return {name: KnownWeights.model_validate(entry) for name, entry in yaml.safe_load(text).items()}
