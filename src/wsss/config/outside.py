"""Settings that name a file outside the project (by path, by URL and SHA-256, or by published name), or a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, model_serializer, model_validator

from wsss.config.common import Section
from wsss.config.messages import nearest
from wsss.config.weights import PREFIX, KnownWeights, known_weights

BY_HAND = Path("data/weights")
"""Cache of downloaded files; a published file that the user puts there is found too."""


class OutsideFile(Section):
    """A file that counts in a result's key by its content, not by its path or URL.

    Written as `FILE`, as `published:NAME`, or as `{url: https://…, sha256: …}`.
    """

    model_config = ConfigDict(frozen=True)

    file: Path | None = Field(None, description="on this machine; given alone, it may stand for the whole section")
    published: str | None = Field(None, description="a name of wsss/config/weights.yaml, written published:NAME")
    url: str | None = Field(None, description="https only; downloaded once into the user's cache folder")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="64 hex digits of the file at the url; without them nothing is downloaded"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, str | Path):
            text = str(given)
            if text.startswith(PREFIX):
                return {"published": text.removeprefix(PREFIX)}
            return {"url": text} if "://" in text else {"file": given}
        return given

    @model_validator(mode="after")
    def _one_origin(self) -> OutsideFile:
        if sum(origin is not None for origin in (self.file, self.published, self.url)) != 1:
            raise ValueError("give a file, published:NAME, or {url: https://…, sha256: …}")
        if self.published is not None and self.published not in (names := known_weights()):
            raise ValueError(
                f"no published file '{self.published}'{nearest(self.published, names)}; known: {', '.join(names)}"
            )
        if self.url is not None and not re.fullmatch(r"https://[^\s/?#@\[\]]+[^\s\x00-\x1f]*", self.url):
            raise ValueError(f"'{self.url}' is no https address; accepted: {{url: https://…, sha256: …}}, or a file")
        if (self.url is None) != (self.sha256 is None):
            raise ValueError(
                f"'{self.url or self.file}': a url needs the sha256 of its file (64 hex digits) beside it, and nothing "
                "else takes one: {url: https://…, sha256: …}"
            )
        return self

    @model_serializer
    def _as_written(self) -> Any:
        if self.url is not None:
            return {"url": self.url, "sha256": self.sha256}
        return str(self.file) if self.published is None else f"{PREFIX}{self.published}"

    @property
    def known(self) -> KnownWeights | None:
        """The catalogue's entry of a published file."""
        return None if self.published is None else known_weights()[self.published]

    @property
    def stated_sha256(self) -> str | None:
        """The SHA-256 that the content must have, if the setting or the catalogue states one."""
        return self.known.sha256 if self.known else self.sha256

    @property
    def address(self) -> str | None:
        """The URL of the file, if it has one."""
        return self.known.url if self.known else self.url

    @property
    def path(self) -> Path:
        """The file's path on this machine, also before it is downloaded."""
        if self.file is not None:
            return self.file
        by_hand = BY_HAND / self.known.file if self.known else None
        if by_hand is not None and (by_hand.is_file() or self.address is None or self.stated_sha256 is None):
            return by_hand
        return cached(self.stated_sha256, self.known.file if self.known else Path(urlsplit(self.url).path).name)

    def __str__(self) -> str:
        return self.url or (f"{PREFIX}{self.published}" if self.published else str(self.file))


class OutsideFolder(Section):
    """A folder or file that counts in a result's key by its content, not by its path. Written as its path."""

    model_config = ConfigDict(frozen=True)
    known: ClassVar[None] = None
    address: ClassVar[None] = None
    stated_sha256: ClassVar[None] = None

    path: Path

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str | Path) else given

    @model_serializer
    def _as_written(self) -> str:
        return str(self.path)

    def files(self) -> Iterator[tuple[str, Path]]:
        """(name below the folder, path) of every file that is not hidden, sorted by name."""
        if not self.path.is_dir():
            yield self.path.name, self.path
            return
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path)
            if file.is_file() and not any(part.startswith(".") for part in name.parts):
                yield name.as_posix(), file

    def __str__(self) -> str:
        return str(self.path)


OUTSIDE = (OutsideFile, OutsideFolder)
"""Types of settings that name files outside the project."""


def cached(sha256: str, name: str) -> Path:
    """The path of a downloaded file; its folder is named after the digest, so that equal names do not collide."""
    from platformdirs import user_cache_path

    return user_cache_path("wsss") / "weights" / sha256[:16] / (name or "weights")
