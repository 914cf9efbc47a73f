"""What the sections of a configuration have in common."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]
Weight = Annotated[float, Field(ge=0)]
Scales = Annotated[list[PositiveFloat], Field(min_length=1)]


def in_words(value: Any) -> str:
    """A number without needless digits; anything else as it is."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


class Section(BaseModel):
    """A group of settings; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    def words(self) -> str:
        """One line on what the settings do, for people who know the methods and not this configuration.

        Sections without words of their own list their plain values.
        """
        plain = {name: value for name, value in self if isinstance(value, str | int | float)}
        return ", ".join(f"{name.replace('_', ' ')} {in_words(value)}" for name, value in plain.items())


class Component(Section):
    """Settings of a component, which say where its code is.

    implementation: `module:object`, imported by `load` alone, so that reading settings imports no network.
    """

    implementation: ClassVar[str]

    @classmethod
    def load(cls) -> Any:
        """The object that does the work."""
        module, _, name = cls.implementation.partition(":")
        return getattr(import_module(module), name)

    @classmethod
    def module(cls) -> str:
        """The module that `load` imports."""
        return cls.implementation.partition(":")[0]


class Decodes:
    """Settings of a method whose network decodes masks itself, by `segment_logits`."""


class Untrained:
    """Settings of a method that trains nothing: its weights are its backbone's, and it needs the classes' names."""


class UsesFeatures:
    """Settings of a part that learns from, or compares, features that compute_features has stored."""

    @property
    def uses_features(self) -> bool:
        """Whether these settings ask for them."""
        return True
