"""The manifest of a step: all that determines its result, stored as `manifest.json`; its digest is the step's key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Self

from wsss.runtime.files import regular, write_atomically
from wsss.runtime.records import read_record, require_keys

NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """All that determines a result.

    stage: its name. settings: JSON types, without paths of outside files. code: digest of the code that the stage runs.
    upstream: role → identity of the upstream step. content: role → digest of an outside file or data set.
    modules: those that the stage loads by name; their code is part of `code`, and they are in no key.
    """

    stage: str
    settings: Mapping[str, Any]
    code: str
    upstream: Mapping[str, str] = field(default_factory=dict)
    content: Mapping[str, str] = field(default_factory=dict)
    modules: Sequence[str] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        """16 hex digits; equal for equal manifests."""
        parts = asdict(self)
        del parts["modules"]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]

    def text(self, indent: int | None = None) -> str:
        """JSON, with the key."""
        return json.dumps({"key": self.key, **asdict(self)}, indent=indent, sort_keys=True)

    @classmethod
    def parse(cls, text: str, where: str = "manifest") -> Self:
        """The manifest of a JSON text.

        Raises:
            ValueError: not a manifest, or its key does not match its parts.
        """
        try:
            parts = json.loads(text)
            key = parts.pop("key")
            found = cls(**parts)
            fits = found.key == key
        except (ValueError, TypeError, AttributeError, KeyError):
            raise ValueError(f"{where}: not a manifest of a stage; remove its folder") from None
        if not fits:
            raise ValueError(f"{where}: its parts give key {found.key}, not {key}; remove its folder")
        return found

    def write(self, folder: Path, *, replace: bool = False) -> None:
        """Writes the manifest to the step's folder. replace: overwrite another step's manifest.

        Raises:
            ValueError: the folder holds another step's results.
        """
        path = folder / NAME
        if replace or not path.is_file():
            write_atomically(path, self.text(indent=1))
        elif (found := read_manifest(folder).key) != self.key:
            raise ValueError(f"{path}: results of another step, {found} instead of {self.key}; remove the folder")


def settings_of(folder: Path) -> dict[str, Any]:
    """A finished step's settings: those of its manifest, or of `config.yaml` if it has none.

    In a manifest, paths of outside files are replaced by a placeholder.

    Raises:
        ValueError: the manifest or the settings are damaged.
    """
    if (folder / NAME).exists():
        return dict(read_manifest(folder).settings)
    return read_record(folder / "config.yaml")


def views_of(data: Path, segment: Path) -> dict[str, Any]:
    """How a run segments images: `segment`, the settings of this stage, and `max_edge`, to which images are shrunk.

    data, segment: folders of the steps.

    Raises:
        ValueError: their settings are damaged.
    """
    edge = require_keys(data, {"max_edge": None} | settings_of(data), max_edge=(int, NoneType))["max_edge"]
    return {"segment": settings_of(segment), "max_edge": edge}


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a step's folder.

    Raises:
        ValueError: there is no manifest, or it is damaged.
    """
    path = folder / NAME
    try:
        return Manifest.parse(regular(path).read_text(encoding="utf-8"), str(path))
    except OSError:
        raise ValueError(f"{path}: no such file; the folder was not made by this workflow") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a manifest of a stage; remove its folder") from None
