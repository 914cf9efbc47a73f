"""Writes label maps as CVAT's XML for images."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wsss.data.formats.cvat.settings import Settings
from wsss.data.formats.labels import Labels
from wsss.data.formats.regions import boxed, classes_in
from wsss.runtime.files import write_atomically


def write(_settings: Settings, store: Labels, out: Path) -> int:
    """Writes `out/annotations.xml`; returns the number of images."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    _add_meta(root, store)
    for number, image_id in enumerate(store):
        label = store[image_id]
        height, width = label.shape
        about = {"id": str(number), "name": store.file_name(image_id), "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", about)
        for _, name, mask in classes_in(label, store.class_names):
            ElementTree.SubElement(image, "mask", _attributes(name, mask))
    text = ElementTree.tostring(root, encoding="unicode")
    write_atomically(out / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
    return len(store)


def _add_meta(root: ElementTree.Element, store: Labels) -> None:
    """Adds the element with the task's classes, by which tools recognise the format."""
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "size").text = str(len(store))
    ElementTree.SubElement(task, "mode").text = "annotation"
    labels = ElementTree.SubElement(task, "labels")
    for name in store.class_names[1:]:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "type").text = "mask"
        ElementTree.SubElement(label, "attributes")


def _attributes(name: str, mask: np.ndarray) -> dict[str, str]:
    """Attributes of a mask element: its box, and row-major run lengths within it, beginning with pixels outside."""
    top, left, inside = boxed(mask)
    flat = np.concatenate([[False], inside.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate([[0], changes, [inside.size]]))
    height, width = inside.shape
    place = {"left": left, "top": top, "width": width, "height": height}
    return {
        "label": name,
        "source": "auto",
        "occluded": "0",
        "rle": ", ".join(map(str, runs.tolist())),
        **{key: str(value) for key, value in place.items()},
        "z_order": "0",
    }
