"""What a data source brings: its settings, the files that decide what it yields, and the terms they come under."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from wsss.config.common import Component
from wsss.runtime.contents import Contents


@dataclass(frozen=True)
class About:
    """What a user must know and cite. title; licence: terms in a sentence; citations; url: where it is published."""

    title: str
    licence: str
    citations: tuple[str, ...] = ()
    url: str = ""


class Index(NamedTuple):
    """The table that a source yields.

    class_names: C names, background first. palette: (C, 3) uint8 RGB. rows: of index.csv, without sizes.
    """

    class_names: list[str]
    palette: np.ndarray
    rows: list[dict[str, str]]


class Source(Component):
    """Settings of a data source.

    `implementation` is a function (settings, out, workers, preflight) → Index; it writes what it makes to `out`.
    """

    about: ClassVar[About]
    places: ClassVar[frozenset[str]] = frozenset()
    """Settings that say where files lie; moving the files changes no result that follows."""

    masks_from: ClassVar[str] = "masks in the data set"
    """What a person would have to add for it to have masks."""

    @property
    def where(self) -> str:
        """What a message calls it: its folder, if it has one."""
        return str(getattr(self, "root", None) or getattr(self, "images", None) or self.dataset)

    @property
    def has_masks(self) -> bool:
        """Whether some images have masks to measure with."""
        return True

    def content(self) -> Iterator[tuple[str, Path]]:
        """(name that stays when everything moves, file) of every file that decides the table, images and masks."""
        yield from ()

    def digest(self, contents: Contents) -> str:
        """What stands for the content of all files in the identity of what is made of them."""
        what = f"data set '{self.dataset}'"
        return contents.once(self.model_dump_json(), self.content, what)

    def truth(self) -> Iterator[tuple[str, Path]]:
        """The same of masks that decide what is measured and nothing else of the table; they are not in `content`."""
        yield from ()

    def digests(self, contents: Contents) -> dict[str, str]:
        """Role in a manifest → `digest`, and that of the masks that only measure, if there are any."""
        found = {"data": self.digest(contents)}
        if next(iter(self.truth()), None) is not None:
            what = f"masks of data set '{self.dataset}'"
            found["masks"] = contents.once(f"truth {self.model_dump_json()}", self.truth, what)
        return found

    def missing(self) -> str | None:
        """`key: what is not there`, or nothing."""
        return None


class FileSource(Source):
    """A source of image files, which may be broken."""

    on_bad_image: Literal["stop", "skip"] = Field(
        "stop",
        description="what a broken image or mask (cut short, missing, of another size …) does: `stop` ends the run "
        "with a list of all, `skip` leaves them out and lists them in skipped.csv",
    )

    def words(self) -> str:
        return f"{self.dataset} from {self.where}"

    def lost(self, **files: Path | None) -> str | None:
        """`key: no file 'place'` of the first of some settings whose file is not there."""
        wrong = ((key, file) for key, file in files.items() if file is not None and not file.is_file())
        return next((f"{key}: no file '{file}'" for key, file in wrong), None)
