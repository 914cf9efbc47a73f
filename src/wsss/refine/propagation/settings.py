"""Settings of propagation without training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from wsss.config.common import Component, Count, UsesFeatures, in_words


class StoredStages(Component):
    """Which features of an image's cells are meant."""

    stages: list[int | Literal["final"]] = Field(
        [-1],
        min_length=1,
        description="outputs of the network, of equal weight where they are compared; -1: the last stage; final: what "
        "the network gives its classifier",
    )
    scale: PositiveFloat = Field(1.5, description="of the image that the features are taken from")


class Spreading(StoredStages):
    """How scores spread over the similar cells of an image (LPOSS)."""

    neighbours: Count = Field(50, description="cells; the most similar ones of a cell are its neighbours")
    power: PositiveFloat = Field(3.0, description="exponent of the cosine similarity (published 3)")
    distance: float = Field(0.01, ge=0, description="similarity falls by exp(−distance · pixels) (published 0.01)")
    alpha: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.95, description="share that comes from neighbours (published 0.95; less where maps are good already)"
    )

    def words(self) -> str:
        return f"each cell shares with its {self.neighbours} most similar ones, strength {in_words(self.alpha)}"


class Settings(Spreading, UsesFeatures):
    """Maps spread over the similar cells of an image, by the classifier's own features (LPOSS); trains nothing."""

    implementation = "wsss.refine.propagation.spread:Propagation"
    method: Literal["propagation"]
    source: Literal["classifier", "stored"] = Field(
        "classifier",
        exclude_if=lambda source: source == "classifier",
        description="whose features: the classifier's own network, seen again; or those of compute_features",
    )
    background: PositiveFloat = Field(2.0, description="exponent α of the background (1 − max)^α afterwards")

    def words(self) -> str:
        return f"{super().words()}; background (1 − max)^{in_words(self.background)}"

    @property
    def uses_features(self) -> bool:
        return self.source == "stored"
