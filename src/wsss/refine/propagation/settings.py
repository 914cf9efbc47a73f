"""Settings of label propagation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from wsss.config.common import Component, Count, PowerBackground, Stages, UsesFeatures, in_words


class StoredStages(Component):
    """Selection of stored features."""

    stages: Stages = Field(
        [-1],
        description="outputs of the network, of equal weight in comparisons; -1: the last stage; final: the input of "
        "the network's classifier; keys: of a transformer's last attention",
    )
    scale: PositiveFloat = Field(1.5, description="image scale of the features")


class Spreading(StoredStages):
    """Propagation of scores over similar cells of an image (LPOSS)."""

    neighbours: Count = Field(50, description="number of most similar cells that are a cell's neighbours")
    power: Annotated[float, Field(gt=0, le=1000)] = Field(
        3.0, description="exponent of the cosine similarity (published 3)"
    )
    distance: float = Field(0.01, ge=0, description="d of the factor exp(−d · pixels) (published 0.01)")
    alpha: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.95, description="α of (I − αW) x = y, the weight of the neighbours (published 0.95; less for better maps)"
    )
    steps: Count | None = Field(
        None,
        exclude_if=lambda steps: steps is None,
        description="steps of conjugate gradients, which do not converge (published 10); null: the exact solution",
    )

    def words(self) -> str:
        return f"each cell shares with its {self.neighbours} most similar ones, strength {in_words(self.alpha)}"


class Settings(Spreading, UsesFeatures, PowerBackground):
    """Maps propagated over similar cells of an image (LPOSS), without training."""

    implementation = "wsss.refine.propagation.spread:Propagation"
    method: Literal["propagation"]
    source: Literal["classifier", "stored"] = Field(
        "classifier",
        exclude_if=lambda source: source == "classifier",
        description="source of the features: the classifier's backbone, computed again; or compute_features",
    )
    background: PositiveFloat = Field(2.0, description="exponent α of the background (1 − max)^α afterwards")

    def words(self) -> str:
        return f"{super().words()}; background (1 − max)^{in_words(self.background)}"

    @property
    def uses_features(self) -> bool:
        return self.source == "stored"
