"""Settings of methods that know their classes by words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, field_validator

from wsss.config.common import Section
from wsss.config.outside import OutsideFile

Phrases = Annotated[list[str], Field(min_length=1)]

BACKGROUNDS = [
    *["ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea", "railway"],
    *["railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean", "road", "rock", "street", "valley"],
    *["bridge", "sign"],
]
"""CLIP-ES's, for VOC; for COCO keyboard and sign are left out, as they are classes there."""

SYNONYMS = {
    "bird": ["bird avian"],
    "chair": ["chair seat"],
    "person": ["person with clothes,people,human"],
    "tvmonitor": ["tvmonitor screen"],
}
"""CLIP-ES's words for four of VOC's classes, unless `prompts` has others."""


def words_of(classes: Sequence[str]) -> dict[str, Any]:
    """The settings of `Words` to begin with for classes: a phrase each, and backgrounds that are none of them."""
    prompts = {name: SYNONYMS.get(name) or [name.replace("_", " ")] for name in classes}
    taken = {phrase.lower() for own in prompts.values() for phrase in own}
    kept = [phrase for phrase in BACKGROUNDS if phrase not in taken]
    return {"prompts": prompts} | ({} if kept == BACKGROUNDS else {"backgrounds": kept})


class Words(Section):
    """What CLIP's text tower is told of the classes and of what is none (CLIP-ES, Lin 2023)."""

    prompts: dict[str, Phrases] = Field(
        {},
        description="class name → phrases, whose features are averaged; a class that is not here has CLIP-ES's words "
        "(bird, chair, person, tvmonitor) or is its own name",
    )
    template: str = Field("a clean origami {}.", description="sentence around a phrase, at {}")
    backgrounds: Phrases = Field(BACKGROUNDS, description="phrases of what is no class (published: 25 for VOC)")
    temperature: PositiveFloat = Field(0.01, description="of the softmax over cosines; CLIP's own is 0.01")
    text_checkpoint: OutsideFile | None = Field(
        None, description="file with CLIP's text tower; null: backbone.checkpoint, which as published holds both towers"
    )

    @field_validator("template")
    @classmethod
    def _one_place(cls, template: str) -> str:
        if template.count("{}") != 1:
            raise ValueError(f"'{template}' has {template.count('{}')} places for the phrase; accepted is one {{}}")
        return template
