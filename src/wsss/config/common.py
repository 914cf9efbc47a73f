"""Base classes and value types of the configuration's sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from wsss.config.messages import shortened

S = TypeVar("S", bound=BaseModel)
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Scale = Annotated[float, Field(ge=0.01, le=64)]


def _in_order(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise ValueError(f"accepted are a low and a high end, in this order; found {ends}")
    return ends


_Ends = (Field(min_length=2, max_length=2), AfterValidator(_in_order))
Range = Annotated[list[Weight], *_Ends]
"""Low and high end of a uniform distribution; also of edges in pixels, of factors, and of shares."""
EdgeRange = Annotated[list[Annotated[float, Field(ge=1, le=100_000)]], *_Ends]
ScaleRange = Annotated[list[Scale], *_Ends]
ShareRange = Annotated[list[Annotated[float, Field(gt=0, le=1)]], *_Ends]


def _once(values: list[Any]) -> list[Any]:
    if twice := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{in_words(twice[0])} occurs {values.count(twice[0])} times; accepted is each value once")
    return values


Once = AfterValidator(_once)
Scales = Annotated[list[Scale], Field(min_length=1), Once]
Blocks = Annotated[list[int], Field(min_length=1), Once]
Stage = int | Literal["final", "keys"]
"""Output of a network: a stage by number, negative from the end; the input of its classifier; a transformer's keys."""
Stages = Annotated[list[Stage], Field(min_length=1), Once]
Count = Annotated[int, Field(ge=1, le=100_000)]
"""Number of processes, images, channels or pixels."""
Iterations = Annotated[int, Field(ge=1, le=1000)]
"""Number of times that the same is done to an image; all that is published is far below."""
WalkSteps = Annotated[int, Field(ge=1, le=10_000)]
Deviation = Annotated[float, Field(ge=0.01)]
"""Of a kernel, in pixels or grey values; pydensecrf crashes at much smaller ones."""
Dilations = Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1, max_length=32), Once]
"""Pixels; memory grows with their number, and with the largest."""
Precision = Annotated[
    Literal["off", "auto", "bf16", "fp16"],
    Field(description="mixed precision; auto: bf16 if the GPU or CPU has instructions for it, else off"),
]
Radius = Annotated[int, Field(ge=2, le=100)]
"""Cells; work and memory grow with its square."""
DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
"""Pattern of a device's name."""
SMALLEST, LARGEST, LARGEST_SEED = 1e-12, 10**8, 2**63 - 1
"""Smallest and largest number in any section, besides 0; others are typing errors that would show late, or never."""


def in_words(value: Any) -> str:
    """A number in its shortest decimal form; anything else unchanged."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def check_dropouts(options: Mapping[str, Any]) -> None:
    """Checks those of a library's options that are probabilities of dropping, which it uses only in training.

    Raises:
        ValueError: one is no number from 0 to 1; names it.
    """
    for name, value in options.items():
        if "drop" in str(name) and isinstance(value, int | float) and not 0 <= value <= 1:
            raise ValueError(f"options.{name}: {value}; accepted are 0 to 1")


class Section(BaseModel):
    """A group of settings; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, given: Any) -> Any:
        for name, field in cls.model_fields.items() if isinstance(given, Mapping) else ():
            if any(isinstance(n, bool) for n in _numbers(given.get(name))) and _only_numbers(field.annotation):
                raise ValueError(f"{name}: a number is needed; found {given[name]}, in YAML also yes, no, on and off")
        return given

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        for name, value in self:
            largest = LARGEST_SEED if name.endswith("seed") else LARGEST
            if wrong := next((n for n in _numbers(value) if n and not SMALLEST <= abs(n) <= largest), None):
                told = shortened(wrong) if isinstance(wrong, int) else f"{wrong:.4g}"
                raise ValueError(f"{name}: {told}; accepted are numbers from {SMALLEST:g} up to {largest:.4g}")
        return self

    def words(self) -> str:
        """One line that describes the settings to readers who know the methods but not this configuration.

        By default the values of the section's plain fields.
        """
        plain = {name: value for name, value in self if isinstance(value, str | int | float)}
        return ", ".join(f"{name.replace('_', ' ')} {in_words(value)}" for name, value in plain.items())


def settings_below(
    section: BaseModel, kind: type[S] | tuple[type[S], ...], prefix: str = ""
) -> Iterator[tuple[str, S]]:
    """(dotted key, settings) of every section below `section` that is an instance of `kind`."""
    for name in type(section).model_fields:
        value, key = getattr(section, name), f"{prefix}{name}"
        if isinstance(value, kind):
            yield key, value
        elif isinstance(value, BaseModel):
            yield from settings_below(value, kind, f"{key}.")


def _only_numbers(annotation: Any) -> bool:
    """Whether an annotation takes numbers and nothing else, in lists or alone."""
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    if not inner:
        return annotation in (int, float, NoneType)
    return all(map(_only_numbers, inner))


def _numbers(value: Any) -> Iterator[int | float]:
    """The numbers in a setting, lists and mappings included; nested sections check their own."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))


class Component(Section):
    """Settings of a component, with the location of its code.

    implementation: `module:object`, imported only by `load`, so that reading settings does not import torch.
    """

    implementation: ClassVar[str]

    @classmethod
    def load(cls) -> Any:
        """The object that `implementation` names."""
        module, _, name = cls.implementation.partition(":")
        return getattr(import_module(module), name)

    @classmethod
    def module(cls) -> str:
        """The module that `load` imports."""
        return cls.implementation.partition(":")[0]


class Decodes:
    """Settings of a single-stage method, whose network decodes masks by `segment_logits`."""


class Untrained:
    """Settings of a method without training: its weights are its backbone's, and it needs the class names."""


class PowerBackground:
    """Settings of a refinement whose background map is (1 − max)^p of its other maps; p is their field `background`."""


class UsesFeatures:
    """Settings of a component that learns from, or compares, the features stored by compute_features."""

    @property
    def uses_features(self) -> bool:
        """Whether these settings use stored features."""
        return True
