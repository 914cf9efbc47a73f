"""Settings shared by the refinements that train an affinity network."""

from __future__ import annotations

from pydantic import Field

from wsss.config.common import Component, Radius
from wsss.config.outside import OutsideFile
from wsss.config.sections import Backbone, Training


class PairTraining(Component):
    """An affinity network, trained on pairs of neighbouring cells of confident labels (AffinityNet, IRNet)."""

    method: str
    stride: int
    radius: Radius = Field(5, description="cells; pairs closer than this are compared")
    inner_pairs: bool = Field(
        False, description="train only on cells whose neighbours are all in the crop, as PSA and IRN"
    )
    checkpoint: OutsideFile | None = Field(None, description="the paper's published network, used without training")
    backbone: Backbone | None = Field(
        None, description="a separate backbone (as published); null: the trained classifier's"
    )
    training: Training = Training()
    rng_seed: int = Field(0, ge=0, description="random seed of weights, batches and augmentation; by default the run's")

    def words(self) -> str:
        return f"{self.method} at stride {self.stride}, radius {self.radius}; {self.training.words()}"


def require_order(section: Component, low: str, high: str) -> None:
    """Raises ValueError unless one number of a section is at most another."""
    ends = getattr(section, low), getattr(section, high)
    if ends[0] > ends[1]:
        raise ValueError(f"{low} and {high} are {ends[0]:g} and {ends[1]:g}; accepted: in this order")
