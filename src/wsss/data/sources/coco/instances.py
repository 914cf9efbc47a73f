"""Reading and checking of COCO's instances files."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss.config.messages import shortened
from wsss.data.checks import Preflight
from wsss.data.names import clean_name
from wsss.data.reasons import FAR
from wsss.data.rle import run_lengths
from wsss.runtime.plain_yaml import read_json

WANTED: dict[str, dict[str, type | tuple[type, ...]]] = {
    "images": {"id": (int, str), "file_name": str, "height": int, "width": int},
    "categories": {"id": (int, str), "name": str},
    "annotations": {"image_id": (int, str), "category_id": (int, str)},
}


@dataclass(frozen=True)
class Instances:
    """Content of a file. images, categories: by id, the latter sorted; annotations: by image id."""

    path: Path
    images: dict[Any, dict[str, Any]]
    categories: dict[Any, str]
    annotations: dict[Any, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def in_fractions(self) -> bool:
        """Whether most outlines are polygons within the first pixel, i.e. in fractions of the image's size."""
        found = (outline(annotation) for members in self.annotations.values() for annotation in members)
        drawn = [value for value in found if value]
        return sum(map(_within_a_pixel, drawn)) > len(drawn) / 2

    @property
    def has_outlines(self) -> bool:
        """Whether any annotation has more than a box."""
        return any(outline(annotation) for members in self.annotations.values() for annotation in members)


def read_instances(path: Path, preflight: Preflight) -> Instances:
    """The content of an instances file; the preflight notes an encoding that is a guess.

    Raises:
        ValueError: no such file, not JSON, or another structure; names the error.
    """
    content = _read_content(path, preflight)
    images = {image["id"]: image for image in sorted(content["images"], key=_by_id)}
    categories = {c["id"]: clean_name(c["name"]) for c in sorted(content["categories"], key=_by_id)}
    found = Instances(path, images, categories)
    for annotation in content["annotations"]:
        for key, known in (("image_id", images), ("category_id", categories)):
            if annotation[key] not in known:
                given, first = shortened(annotation[key]), shortened(next(iter(known), None))
                raise ValueError(f"{path}: {named(annotation)} has {key} {given}, which is not listed; ids: {first} …")
        if annotation.get("iscrowd") not in (None, 0, 1):
            raise ValueError(f"{path}: {named(annotation)} has iscrowd {annotation['iscrowd']!r:.40}; accepted: 0 or 1")
        found.annotations[annotation["image_id"]].append(annotation)
    if found.in_fractions:
        raise ValueError(f"{path}: its outlines are fractions of the images' sizes (0 to 1); accepted are pixels")
    return found


def _read_content(path: Path, preflight: Preflight) -> dict[str, list[dict[str, Any]]]:
    """The lists of `WANTED`, whose entries have the members named there; ids of images and categories occur once."""
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; get annotations_trainval2014.zip from https://cocodataset.org/#download"
        )
    text = preflight.read_text(path).text
    try:
        content = read_json(text)
    except ValueError as error:  # also of a number with thousands of digits
        raise ValueError(f"{path}: not JSON ({error})") from None
    except RecursionError:
        raise ValueError(f"{path}: not COCO instances (lists in lists without end)") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not COCO instances ({type(content).__name__} instead of an object)")
    missing = [key for key in WANTED if not isinstance(content.get(key), list)]
    if missing:
        raise ValueError(f"{path}: no list '{missing[0]}'; accepted: images, annotations and categories of COCO")
    for key, members in WANTED.items():
        for number, entry in enumerate(content[key]):
            _check_entry(path, key[:-1] if key != "categories" else "category", number, entry, members)
    for key in ("images", "categories"):
        doubled = [i for i, count in Counter(entry["id"] for entry in content[key]).items() if count > 1]
        if doubled:
            raise ValueError(f"{path}: {len(doubled)} id(s) of {key} occur twice, e.g. {doubled[0]}")
    return content


def _check_entry(path: Path, kind: str, number: int, entry: Any, members: dict[str, Any]) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: {kind} number {number} is no object")
    for name, types in members.items():
        value = entry.get(name)
        if not isinstance(value, types) or isinstance(value, bool):
            what = f"{kind} {entry.get('id', f'number {number}')}"
            has = f"has {name} {str(value)[:40]!r}" if name in entry else f"has no {name}"
            expected = " or ".join(t.__name__ for t in (types if isinstance(types, tuple) else (types,)))
            raise ValueError(f"{path}: {what} {has}; accepted: {expected}")


def _by_id(entry: dict[str, Any]) -> tuple[bool, Any]:
    return isinstance(entry["id"], str), entry["id"]


def named(annotation: dict[str, Any]) -> str:
    """The name of an annotation in messages."""
    return f"annotation {annotation.get('id', 'without an id')}"


def outline(annotation: dict[str, Any]) -> Any:
    """An annotation's polygons or run lengths; empty if it has only a box."""
    found = annotation.get("segmentation") or None
    return found if not isinstance(found, list) or any(part != [] for part in found) else None


def paints(annotation: dict[str, Any]) -> bool:
    """Whether an annotation has a positive area, by its box, or without one by its area."""
    box = annotation.get("bbox")
    sides = box[2:4] if isinstance(box, list) else []
    return all(side != 0 for side in sides) if sides else given_area(annotation, 1) != 0


def given_area(annotation: dict[str, Any], otherwise: float) -> float:
    """An annotation's area in pixels according to the file, else `otherwise`."""
    area = annotation.get("area")
    return area if _is_number(area) else otherwise


def outline_problem(annotation: dict[str, Any], size: tuple[int, int]) -> str | None:
    """The reason why an annotation's outline cannot be painted in an image of this height and width, or None."""
    found = outline(annotation)
    if isinstance(found, dict):
        return _runs_problem(found, size)
    if not isinstance(found, list):
        return f"its segmentation is {type(found).__name__}, accepted are polygons or run lengths"
    for polygon in found:
        if not isinstance(polygon, list) or not all(map(_is_number, polygon)) or len(polygon) % 2:
            return "its outline is no list of x and y"
        if any(abs(value) > FAR for value in polygon):
            return f"its outline leads further than {FAR:,} px"
    if not polygons(annotation):
        return f"its outline has {max(len(polygon) for polygon in found) // 2} points, a polygon has 3 or more"
    return None


def polygons(annotation: dict[str, Any]) -> list[list[float]]:
    """An annotation's polygons of at least three points."""
    return [polygon for polygon in outline(annotation) if len(polygon) >= 6]


def _within_a_pixel(found: Any) -> bool:
    values = [v for polygon in found if isinstance(polygon, list) for v in polygon] if isinstance(found, list) else []
    return bool(values) and all(_is_number(value) and 0 <= value <= 1 for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _runs_problem(runs: dict[str, Any], size: tuple[int, int]) -> str | None:
    if runs.get("size") != list(size):
        return f"its run lengths are for the size {runs.get('size')}, but its image has {list(size)} (height, width)"
    try:
        run_lengths(runs)
    except ValueError as error:
        return str(error)
    return None
