"""Reads CVAT's XML for images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wsss.data.files import without_suffix
from wsss.data.formats.cvat.settings import Settings
from wsss.data.formats.regions import SizeOf, annotation_file, canvas, class_id, corners, filled
from wsss.data.xml import read_xml
from wsss.runtime.records import in_file

SHAPES = ("mask", "polygon", "box")


def read(
    _settings: Settings, source: Path, class_names: Sequence[str], _size_of: SizeOf
) -> Iterator[tuple[str, np.ndarray]]:
    """(image id, label (H, W) uint8) of every image of an XML file, or of annotations.xml in a folder.

    Raises:
        ValueError: not such a file, an unknown class, or a shape without area.
    """
    path = annotation_file(source, "annotations.xml")
    with in_file(path, "XML"):
        root, _ = read_xml(path)
    if root.find("track") is not None:
        raise ValueError(f"{path}: holds tracks of a video; accepted is an export as 'CVAT for images 1.1'")
    for image in root.iter("image"):
        with in_file(path, "CVAT's XML"):
            name = image.attrib["name"].replace("\\", "/")
        where = f"{path}, image '{name}'"
        with in_file(path, f"an image of CVAT, '{name}'"):
            label = canvas((int(image.attrib["height"]), int(image.attrib["width"])), where)
            shapes = sorted((s for s in image if s.tag != "tag"), key=lambda shape: int(shape.get("z_order", 0)))
            for shape in shapes:
                _paint(label, shape, class_id(shape.attrib["label"], class_names, where), where)
        yield without_suffix(name), label


def _paint(label: np.ndarray, shape: ElementTree.Element, c: int, where: str) -> None:
    if shape.tag == "mask":
        left, top, width, height = (int(float(shape.attrib[key])) for key in ("left", "top", "width", "height"))
        runs = [int(run) for run in shape.attrib["rle"].split(",")]
        window = label[max(top, 0) : top + height, max(left, 0) : left + width]
        if window.shape != (height, width) or sum(runs) != height * width or min(runs) < 0:
            raise ValueError(f"{where}: a mask of '{shape.attrib['label']}' does not fit its box or the image")
        inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        window[inside] = c
    elif shape.tag == "polygon":
        points = [tuple(float(v) for v in point.split(",")) for point in shape.attrib["points"].split(";")]
        label[filled(points, label.shape)] = c
    elif shape.tag == "box":
        x0, y0, x1, y1 = (float(shape.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        if float(shape.get("rotation", 0)) % 360:
            raise ValueError(f"{where}: a box turned by {shape.get('rotation')}°; accepted are upright ones")
        label[filled(corners([(x0, y0), (x1, y1)]), label.shape)] = c
    else:
        raise ValueError(f"{where}: a shape <{shape.tag}>; accepted are {', '.join(SHAPES)}")
