"""Settings of methods that recognise classes by text prompts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from wsss.config.common import Section
from wsss.config.messages import nearest, shortened
from wsss.config.outside import OutsideFile


def _visible(phrase: str) -> str:
    kinds = {unicodedata.category(character)[0] for character in phrase}
    if kinds <= {"C", "Z"} or any(unicodedata.category(character) == "Cc" for character in phrase):
        raise ValueError(f"phrase {shortened(phrase)}; accepted is visible text on one line")
    return phrase


def _different(phrases: list[str]) -> list[str]:
    if again := next((phrase for i, phrase in enumerate(phrases) if phrase in phrases[:i]), None):
        raise ValueError(f"phrase '{again}' occurs twice; accepted are different phrases")
    return phrases


Phrase = Annotated[str, AfterValidator(_visible)]
Phrases = Annotated[list[Phrase], Field(min_length=1), AfterValidator(_different)]

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
    temperature: float = Field(
        0.01, ge=1e-4, le=100, description="divides the cosines before the softmax; CLIP's own is 0.01"
    )
    text_checkpoint: OutsideFile | None = Field(
        None, description="file with CLIP's text tower; null: backbone.checkpoint, which as published holds both towers"
    )

    @field_validator("template")
    @classmethod
    def _one_place(cls, template: str) -> str:
        places = template.count("{}")
        if places != 1:
            raise ValueError(f"'{template}' has {places} places for the phrase; accepted is one {{}}")
        if set("{}") & set(template.replace("{}", "")):
            raise ValueError(f"'{template}' has other braces than the one {{}} for the phrase; leave them out")
        return template

    def phrases_of(self, classes: Sequence[str]) -> list[list[str]]:
        """Each class's phrases.

        Raises:
            ValueError: prompts for an unknown class, classes with equal phrases, or a background that is one of them.
        """
        if unknown := next((name for name in self.prompts if name not in classes), None):
            raise ValueError(
                f"method.prompts: no class '{unknown}'{nearest(unknown, classes)}; classes: {', '.join(classes)}"
            )
        found = [self.prompts.get(name) or SYNONYMS.get(name) or [name] for name in classes]
        owner: dict[frozenset[str], str] = {}
        for name, own in zip(classes, found, strict=True):
            if (other := owner.setdefault(frozenset(map(_plain, own)), name)) != name:
                raise ValueError(
                    f"method.prompts: classes '{other}' and '{name}' have the same phrases, {', '.join(own)}; "
                    "accepted are phrases that tell them apart"
                )
            if taken := next((b for b in self.backgrounds if _plain(b) in map(_plain, own)), None):
                raise ValueError(
                    f"method.backgrounds: '{taken}' is a phrase of class '{name}', which it would suppress; "
                    "leave it out"
                )
        return found

    def sentences(self, phrases: Sequence[str]) -> list[str]:
        """The template with each phrase in its place."""
        return [self.template.replace("{}", phrase) for phrase in phrases]


def _plain(phrase: str) -> str:
    return " ".join(phrase.casefold().split())
