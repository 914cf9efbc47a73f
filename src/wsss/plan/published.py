"""Comparison of the published systems (`published.yaml`) with the presets: every value, with reasons of differences."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from wsss.config.loading import PRESETS, load_run
from wsss.config.messages import nearest
from wsss.config.run import Run

NO_SETTING = "no setting"


@dataclass(frozen=True)
class Difference:
    """A published value and ours.

    ours: the run's value; NO_SETTING if it has no such setting. why: reason of a difference.
    """

    setting: str
    published: Any
    source: str
    ours: Any
    why: str

    @property
    def equal(self) -> bool:
        """Whether ours equals the published value; of mappings, the published keys are compared."""
        return _equal(self.published, self.ours)


@dataclass(frozen=True)
class System:
    """A published system. presets: of its run. results: row of miou.csv → (mIoU in percent, source)."""

    name: str
    of: str
    presets: tuple[str, ...]
    dataset: str
    values: Mapping[str, Any]
    beyond: tuple[Any, ...]
    results: Mapping[str, tuple[float, str]]

    def run(self, presets: Path = PRESETS) -> Run:
        """Its run by the presets, on its data set at the default path."""
        return load_run(self.name, {self.name: self.settings}, presets)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of its run in a configuration."""
        return {"preset": list(self.presets), "prepare_data": {"dataset": self.dataset}}

    def compare(self, run: Run) -> Iterator[Difference]:
        """Every published value beside the run's, in the file's order."""
        ours = run.model_dump(mode="json")
        for setting, (published, source, *why) in self.values.items():
            yield Difference(setting, published, source, _look_up(ours, setting), "".join(why))
        for what, published, source, why in self.beyond:
            yield Difference(what, published, source, NO_SETTING, why)


@functools.cache
def systems() -> dict[str, System]:
    """Name → published system."""
    return {
        name: System(
            name,
            entry["of"],
            tuple(entry["preset"]),
            entry["dataset"],
            entry["values"],
            tuple(entry.get("beyond", ())),
            {row: tuple(result) for row, result in entry.get("results", {}).items()},
        )
        for name, entry in content()["systems"].items()
    }


@functools.cache
def content() -> dict[str, Any]:
    """The whole of `published.yaml`."""
    return yaml.safe_load((resources.files("wsss.plan") / "published.yaml").read_text(encoding="utf-8"))


def system(name: str) -> System:
    """The system with a name.

    Raises:
        ValueError: unknown system.
    """
    known = systems()
    if name not in known:
        raise ValueError(f"no published system '{name}'{nearest(name, known)}; systems: {', '.join(known)}")
    return known[name]


def cited(source: str) -> str:
    """A source with its repository's name in place of the letter."""
    letter, _, rest = source.partition(" ")
    return f"{content()['repositories'][letter]} {rest}" if letter in content()["repositories"] else source


def as_text(value: Any) -> str:
    """A value in the syntax of a configuration, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_text, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, int | float) and abs(value) < 1000 else str(value)


def tables(presets: Path = PRESETS) -> str:
    """Markdown with a table for each system."""
    parts = ["Sources: " + ", ".join(f"{letter} = {name}" for letter, name in content()["repositories"].items()) + "."]
    for entry in systems().values():
        parts.append(f"### {entry.of}: `{' + '.join(entry.presets)}`")
        parts.append(
            "\n".join(
                ["| setting | published | source | ours | why |", "|---|---|---|---|---|", *_rows(entry, presets)]
            )
        )
        if entry.results:
            numbers = (f"`{row}` {miou:g} ({source})" for row, (miou, source) in entry.results.items())
            parts.append(f"Published mIoU in percent: {', '.join(numbers)}.")
    return "\n\n".join(parts) + "\n"


def _rows(entry: System, presets: Path) -> Iterator[str]:
    for found in entry.compare(entry.run(presets)):
        ours = "=" if found.equal else as_text(_part(found.published, found.ours))
        why = "" if found.equal else found.why
        name = found.setting if found.ours == NO_SETTING else f"`{found.setting}`"
        yield f"| {name} | {as_text(found.published)} | {found.source} | {ours} | {why} |"


def _part(published: Any, ours: Any) -> Any:
    """Our mapping, restricted to the published keys."""
    both = isinstance(published, Mapping) and isinstance(ours, Mapping)
    return {key: ours.get(key) for key in published} if both else ours


def _look_up(settings: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(settings, Mapping) or key not in settings:
            return NO_SETTING
        settings = settings[key]
    return settings


def _equal(published: Any, ours: Any) -> bool:
    if isinstance(published, Mapping):
        return isinstance(ours, Mapping) and all(key in ours and _equal(v, ours[key]) for key, v in published.items())
    if isinstance(published, list):
        return isinstance(ours, list) and len(published) == len(ours) and all(map(_equal, published, ours))
    if isinstance(published, int | float) and isinstance(ours, int | float) and not isinstance(published, bool):
        return math.isclose(published, ours, rel_tol=1e-6)
    return published == ours
