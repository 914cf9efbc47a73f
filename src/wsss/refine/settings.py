"""What the settings of refinements share: a network that learns which pairs of cells belong together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wsss.config.common import Component
from wsss.config.outside import OutsideFile
from wsss.config.sections import Backbone, Training


class PairTraining(Component):
    """An affinity network, trained on pairs of near cells of confident labels (AffinityNet, IRNet)."""

    method: str
    stride: int
    radius: Annotated[int, Field(ge=2)] = Field(5, description="cells; pairs closer than this are compared")
    inner_pairs: bool = Field(
        False, description="train on cells that have all neighbours in the crop only, as PSA and IRN ran"
    )
    checkpoint: OutsideFile | None = Field(None, description="published network of the paper, used as it is")
    backbone: Backbone | None = Field(
        None, description="trunk with weights of its own (as published); null: the trained classifier's"
    )
    training: Training = Training()
    rng_seed: int = Field(0, ge=0, description="of weights, batches and augmentation; by default the run's")

    def words(self) -> str:
        return f"{self.method} at stride {self.stride}, radius {self.radius}; {self.training.words()}"
