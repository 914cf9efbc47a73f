"""Base classes of data sources: settings, files that determine the table, and terms of use."""

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
    """Title, terms (licence, in a sentence), citations and URL of a data set."""

    title: str
    licence: str
    citations: tuple[str, ...] = ()
    url: str = ""


class Index(NamedTuple):
    """The table of a source.

    class_names: C names, background first. palette: (C, 3) uint8 RGB. rows: of index.csv, without sizes.
    """

    class_names: list[str]
    palette: np.ndarray
    rows: list[dict[str, str]]


class Source(Component):
    """Settings of a data source.

    `implementation` is a function (settings, out, workers, preflight) → Index that writes generated files to `out`.
    """

    about: ClassVar[About]
    places: ClassVar[frozenset[str]] = frozenset()
    """Names of the settings that are paths of the files; moving the files changes no later result."""

    masks_from: ClassVar[str] = "masks in the data set"
    """What the user has to add for the data set to have masks, for messages."""

    @property
    def where(self) -> str:
        """The data set's name in messages: its folder, if it has one."""
        return str(getattr(self, "root", None) or getattr(self, "images", None) or self.dataset)

    @property
    def has_masks(self) -> bool:
        """Whether some images have masks for evaluation."""
        return True

    def content(self) -> Iterator[tuple[str, Path]]:
        """(name relative to the data set, path) of every file that determines the table, images and masks."""
        yield from ()

    def digest(self, contents: Contents) -> str:
        """Digest of the content of all files, for the keys of results."""
        what = f"data set '{self.dataset}'"
        return contents.once(self.model_dump_json(), self.content, what)

    def truth(self) -> Iterator[tuple[str, Path]]:
        """As `content`, for masks that are used for evaluation only, which are not in `content`."""
        yield from ()

    def digests(self, contents: Contents) -> dict[str, str]:
        """Role in a manifest → digest: of `content`, and of `truth` if there is any."""
        found = {"data": self.digest(contents)}
        if next(iter(self.truth()), None) is not None:
            what = f"masks of data set '{self.dataset}'"
            found["masks"] = contents.once(f"truth {self.model_dump_json()}", self.truth, what)
        return found

    def missing(self) -> str | None:
        """`key: missing file or folder`, or None."""
        return None


class FileSource(Source):
    """A source of image files, which may be damaged."""

    on_bad_image: Literal["stop", "skip"] = Field(
        "stop",
        description="what a broken image or mask (cut short, missing, of another size …) does: `stop` ends the run "
        "with a list of all, `skip` leaves them out and lists them in skipped.csv",
    )

    def words(self) -> str:
        return f"{self.dataset} from {self.where}"

    def lost(self, **files: Path | None) -> str | None:
        """`key: no file 'path'` of the first of these settings whose file does not exist, or None."""
        wrong = ((key, file) for key, file in files.items() if file is not None and not file.is_file())
        return next((f"{key}: no file '{file}'" for key, file in wrong), None)
