"""Settings of methods that recognise classes by text prompts."""

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
"""Background phrases of CLIP-ES for VOC; for COCO it leaves out keyboard and sign, which are classes there."""

SYNONYMS = {
    "bird": ["bird avian"],
    "chair": ["chair seat"],
    "person": ["person with clothes,people,human"],
    "tvmonitor": ["tvmonitor screen"],
}
"""CLIP-ES's phrases for four of VOC's classes, used unless `prompts` has others."""


def words_of(classes: Sequence[str]) -> dict[str, Any]:
    """Initial settings of `Words` for these classes: a phrase each, and the backgrounds that are no class."""
    prompts = {name: SYNONYMS.get(name) or [name.replace("_", " ")] for name in classes}
    taken = {phrase.lower() for own in prompts.values() for phrase in own}
    kept = [phrase for phrase in BACKGROUNDS if phrase not in taken]
    return {"prompts": prompts} | ({} if kept == BACKGROUNDS else {"backgrounds": kept})


class Words(Section):
    """Text prompts of the classes and of the background for CLIP's text tower (CLIP-ES, Lin 2023)."""

    prompts: dict[str, Phrases] = Field(
        {},
        description="class name → phrases, whose text features are averaged; a class without an entry has CLIP-ES's "
        "phrase (bird, chair, person, tvmonitor) or its name",
    )
    template: str = Field("a clean origami {}.", description="sentence with {} in the place of a phrase")
    backgrounds: Phrases = Field(BACKGROUNDS, description="background phrases (published: 25 for VOC)")
    temperature: PositiveFloat = Field(0.01, description="divides the cosines before the softmax; CLIP's own is 0.01")
    text_checkpoint: OutsideFile | None = Field(
        None, description="file with CLIP's text tower; null: backbone.checkpoint, which as published holds both towers"
    )

    @field_validator("template")
    @classmethod
    def _one_place(cls, template: str) -> str:
        if template.count("{}") != 1:
            raise ValueError(f"'{template}' has {template.count('{}')} places for the phrase; accepted is one {{}}")
        return template
