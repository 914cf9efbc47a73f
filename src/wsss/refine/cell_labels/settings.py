"""Settings of the cell classifier: its labels, its training, and the propagation of its probabilities."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from wsss.config.common import Count, UsesFeatures, in_words
from wsss.refine.propagation.settings import Spreading, StoredStages


class Settings(Spreading, UsesFeatures):
    """Probabilities of the image's classes and the background at each cell, propagated over similar cells."""

    implementation = "wsss.refine.cell_labels.refine:CellLabels"
    method: Literal["cell_labels"]

    def words(self) -> str:
        return f"a cell classifier trained on propagated maps; {super().words()}"


class Training(StoredStages, UsesFeatures):
    """Softmax regression over all classes and the background on the features of sampled cells."""

    implementation = "wsss.refine.cell_labels.training:CellTraining"
    method: Literal["cell_labels"]
    sharpness: PositiveFloat = Field(2.0, description="exponent of the target shares, renormalised to sum 1")
    cells: Count = Field(100, description="largest number of cells sampled per image")
    samples: Annotated[int, Field(ge=1)] = Field(70_000, description="largest number of cells in all")
    steps: Count = Field(800, description="steps of AdamW, with a learning rate falling linearly to 0")
    batch_size: Count = Field(2048, description="cells per step")
    lr: PositiveFloat = Field(0.003, description="learning rate of the first step")
    weight_decay: NonNegativeFloat = Field(0.01, description="of AdamW")
    rng_seed: int = Field(0, ge=0, description="random seed of the sampled cells and batches; by default the run's")

    def words(self) -> str:
        return f"linear cell classifier, {self.steps} steps, learning rate {in_words(self.lr)}"


class Labels(Spreading, UsesFeatures):
    """Propagated maps of the image's classes and the background, on the grid of the features."""

    implementation = "wsss.refine.cell_labels.labels:PropagatedMaps"
    scores: ClassVar[bool] = True
    method: Literal["cell_labels"]
    background: PositiveFloat = Field(2.5, description="exponent α of the background (1 − max)^α")

    def words(self) -> str:
        return f"{super().words()}; background (1 − max)^{in_words(self.background)}"
