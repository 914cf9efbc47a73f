"""Matching of names in label tables and annotations to images."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePath

from wsss.config.messages import nearest
from wsss.data.checks import Problem
from wsss.data.dataset import Dataset, Record
from wsss.data.files import without_suffix
from wsss.data.labels_csv import LabelRow, LabelTable
from wsss.data.sheet import ACCEPTED
from wsss.runtime.targets import fold


class Matcher:
    """Finds the image named in a cell: by path, path without suffix, file name, or file name without suffix.

    Case, Unicode form and surrounding spaces are ignored unless images differ in nothing else.
    root: folder of the images. relative: image → its path below the folder. beside: folder of the table.
    """

    def __init__(self, root: Path, relative: Mapping[Path, PurePath], beside: Path) -> None:
        self.root, self.relative, self.beside = root, relative, beside
        self.tables: list[dict[str, list[tuple[str, Path]]]] = [defaultdict(list) for _ in range(4)]
        for path, below in relative.items():
            keys = (below.as_posix(), below.with_suffix("").as_posix(), below.name, below.stem)
            for table, key in zip(self.tables, keys, strict=True):
                table[_meant(key)].append((_composed(key), path))
        whole = (os.path.abspath(root), os.path.realpath(root))  # noqa: PTH100
        self.absolute = [f"{folder}/" for folder in dict.fromkeys(whole)]
        self.prefixes = [f"{root.as_posix()}/", *self.absolute, f"{root.name}/"]

    def __call__(self, name: str) -> Path | None:
        """The image, or None.

        Raises:
            ValueError: several images match.
        """
        found = ((key, table.get(_meant(key), [])) for key in self._keys(name) for table in self.tables)
        hits = [(key, paths) for key, paths in found if paths]
        exact = ([path for spelled, path in paths if spelled == key] for key, paths in hits)
        loose = ([path for _, path in paths] for _, paths in hits)
        paths = next(filter(None, chain(exact, loose)), [])
        if len(set(map(os.path.realpath, paths))) > 1:
            first, second = (self.relative[path].as_posix() for path in paths[:2])
            raise ValueError(f"'{name}' may be '{first}' or '{second}'; write the path below {self.root}")
        return paths[0] if paths else None

    def _keys(self, name: str) -> Iterator[str]:
        """Candidate paths below the folder, the most literal first; a backslash may be Windows' separator."""
        composed = _composed(name)
        plain = composed.strip()
        for spelled in filter(None, dict.fromkeys((composed, plain, plain.replace("\\", "/")))):
            yield from self._ways(spelled.removeprefix("./"))

    def _ways(self, name: str) -> Iterator[str]:
        yield name
        yield from _without(name, self.prefixes)
        if "/" not in name or "\0" in name:
            return
        for start in (self.beside, Path()):
            path = Path(os.path.abspath(start / name))  # noqa: PTH100
            for way in (path, Path(os.path.realpath(path.parent)) / path.name):
                yield from _without(way.as_posix(), self.absolute)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _meant(key: str) -> str:
    """A normalised key, equal for a path and its usual spellings."""
    return fold(key).strip()


def _without(name: str, prefixes: Sequence[str]) -> Iterator[str]:
    """The rest of the name after each prefix that it begins with, ignoring case."""
    for prefix in prefixes:
        if fold(name).startswith(fold(prefix)):
            yield "/".join(name.split("/")[prefix.count("/") :])


def matched(table: LabelTable, match: Matcher) -> tuple[dict[Path, LabelRow], list[Problem], list[LabelRow]]:
    """(image → its row, problems of contradictory rows, rows without an image)."""
    rows: dict[Path, LabelRow] = {}
    problems, strangers = _lost_header(table, match), []
    for row in table.rows:
        try:
            path = match(row.image)
        except ValueError as error:
            problems.append(Problem(f"{table.path} line {row.line}", str(error), "correct the row", row.image))
            continue
        if path is None:
            strangers.append(row)
        elif path in rows and (rows[path].names, rows[path].split) != (row.names, row.split):
            lines = f"{table.path} lines {rows[path].line} and {row.line}"
            problems.append(Problem(lines, f"'{row.image}' has two different rows", "leave one"))
        else:
            rows.setdefault(path, row)
    return rows, problems, strangers


def _lost_header(table: LabelTable, match: Matcher) -> list[Problem]:
    """A problem if the first row, which is taken for the header, names an image."""
    try:
        lost = table.unsure is not None and match(table.unsure) is not None
    except ValueError:
        lost = True
    found = f"its first row names an image, '{table.unsure}', where column names are needed"
    return [Problem(str(table.path), found, ACCEPTED)] if lost else []


class ByName:
    """Finds an image by another tool's name: its id, ignoring case and Unicode form, or its id without folders.

    The name may have the suffix of the image.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.ids = {record.image_id: record for record in dataset.records}
        self.tables: list[dict[str, list[Record]]] = [{}, {}]
        for record in dataset.records:
            for table, key in zip(self.tables, _keys(record.image_id), strict=True):
                table.setdefault(key, []).append(record)

    def __call__(self, name: str) -> Record | None:
        """The record; None if none or several match."""
        hits = [[self.ids[name]] if name in self.ids else []]
        for spelled in (name, without_suffix(name)):
            hits += [table.get(key, []) for table, key in zip(self.tables, _keys(spelled), strict=True)]
        best = next(filter(None, hits), [])
        return best[0] if len(best) == 1 else None

    def size(self, name: str) -> tuple[int, int] | None:
        """Height and width of the image."""
        record = self(name)
        return record.size if record else None

    def nearest(self, name: str) -> str:
        """A suggestion of the nearest id."""
        return nearest(name, self.ids)


def _keys(name: str) -> tuple[str, str]:
    name = name.replace("\\", "/")
    return fold(name), fold(name.rpartition("/")[2])
