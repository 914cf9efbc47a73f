"""Settings of the stages that turn maps into labels: choose_threshold, make_pseudo_labels, corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, model_validator

from wsss.config.common import Fraction, Section
from wsss.config.outside import OutsideFile, OutsideFolder
from wsss.config.registry import FORMATS
from wsss.config.sections import CRF, PAR, Proposals


def policy_of(given: Any) -> Any:
    """The mapping that a number or a policy's name abbreviates; anything else unchanged."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return given
    return {"policy": given} if isinstance(given, str) else {"policy": "fixed", "value": given}


class ChooseThreshold(Section):
    """The background score of maps without a background map, and the background's weight in maps with one."""

    policy: Literal["masks", "oracle", "auto", "fixed"] = Field(
        "oracle",
        description="masks: the score nearest to auto's among those statistically as good as the best on the training "
        "masks, or auto without masks; oracle: the best on the training masks, as in papers; auto: from the maps "
        "alone; fixed: `value`. See docs/thresholds.md",
    )
    value: Fraction | None = Field(None, description="fixed: the background score")
    highest: Annotated[float, Field(ge=0, le=0.99)] = Field(
        0.59,
        exclude_if=lambda score: score == 0.59,
        description="oracle: the best of 0.00, 0.01 … up to this (SEAM 0.59, ACR 0.99)",
    )
    refined: bool = Field(
        False,
        exclude_if=lambda refined: not refined,
        description="also choose the weight of the background of refine_cam's maps in the pseudo-labels: a class wins "
        "where its share of class + background is above the chosen score; 0.5 changes nothing, and is auto's choice "
        "except after propagation",
    )

    @model_validator(mode="before")
    @classmethod
    def _number(cls, given: Any) -> Any:
        """Expands a number or a policy's name."""
        return policy_of(given)

    @model_validator(mode="after")
    def _value_if_fixed(self) -> ChooseThreshold:
        if (self.policy == "fixed") != (self.value is not None):
            raise ValueError(
                f"policy {self.policy} with value {self.value}; a value belongs to policy fixed, only there"
            )
        return self

    @property
    def reads_masks(self) -> bool:
        """Whether the result depends on the data set's masks."""
        return self.policy in ("masks", "oracle")

    def words(self) -> str:
        chosen = f"background score by policy '{self.policy}'" if self.value is None else f"{self.value:g}, as set"
        return f"{chosen}; of refined maps too" if self.refined else chosen


class MakePseudoLabels(Section):
    """Conversion of score maps to pseudo-labels."""

    par: PAR | None = Field(None, description="refine the scores by PAR or PAMR, before the CRF if there is one")
    crf: CRF | None = Field(CRF(), description="null: no CRF")
    background_power: PositiveFloat | None = Field(
        None,
        exclude_if=lambda power: power is None,
        description="exponent p of the background (1 − max)^p, used instead of a threshold where maps have no "
        "background map; CLIP-ES 1",
    )
    confidence: Fraction | None = Field(
        None,
        exclude_if=lambda share: share is None,
        description="pixels whose highest share is below this are ignored (255); CLIP-ES 0.95",
    )
    masks: Proposals | None = Field(
        None,
        exclude_if=lambda masks: masks is None,
        description="merge mask proposals into the labels, after the CRF; images without proposals keep their labels",
    )

    @model_validator(mode="after")
    def _masks_of_labels_or_of_scores(self) -> MakePseudoLabels:
        if self.masks is not None and self.masks.merge == "fma" and (self.crf or self.par or self.confidence):
            raise ValueError("masks.merge fma reads the scores themselves: set crf, par and confidence to null")
        return self

    def words(self) -> str:
        parts = [*([self.par.kernel.upper()] if self.par else []), *([self.crf.words()] if self.crf else [])]
        parts += [self.masks.words()] if self.masks else []
        return "; ".join(parts) or "the highest score wins"


class Corrections(Section):
    """Masks of some training images corrected by hand, which replace these images' pseudo-labels."""

    masks: OutsideFolder = Field(
        description="folder (or file) of masks named by image id; a path alone abbreviates the section"
    )
    format: str = Field(
        "auto", description="png, coco, labelme, cvat or yolo, as in `wsss labels import`; auto: detected"
    )
    ids: OutsideFile | None = Field(
        None,
        exclude_if=lambda ids: ids is None,
        description="CSV whose column image_id lists the corrected images, as the gallery exports it; null: all masks",
    )

    @model_validator(mode="before")
    @classmethod
    def _place_alone(cls, given: Any) -> Any:
        return {"masks": given} if isinstance(given, str | Path) else given

    @model_validator(mode="after")
    def _format_that_is_read(self) -> Corrections:
        if self.format != "auto" and self.format not in (names := readable_formats()):
            raise ValueError(f"format '{self.format}'; accepted are auto, {', '.join(names)}")
        return self

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that read the format, whose code counts in the stage's key."""
        names = readable_formats() if self.format == "auto" else [self.format]
        return tuple(FORMATS[name].Settings.reader.partition(":")[0] for name in names)

    def words(self) -> str:
        return f"masks of {self.masks} take the place of pseudo-labels"


def readable_formats() -> list[str]:
    """The formats that can be read as well as written."""
    return [name for name, module in FORMATS.modules.items() if hasattr(module.Settings, "reader")]
