"""Data sets of a few images in every layout that prepare_data reads, and how a stage ended on them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from wsss.data.checks import Entry, Preflight
from wsss.data.dataset import Dataset

SIZE = (24, 32)


@dataclass
class Outcome:
    """How a stage ended. lines: of the terminal, those with `error:` in `errors`."""

    code: int
    text: str
    out: Path

    @property
    def errors(self) -> list[str]:
        return [line for line in self.text.splitlines() if "error: " in line]

    def assert_refused(self, message: str) -> None:
        """One line, exit status 2, no traceback, and no result or temporary file."""
        assert self.code == 2, self.text
        assert len(self.errors) == 1 and re.search(message, self.errors[0]), self.text
        assert "Traceback" not in self.text
        left = [path.name for path in self.out.rglob("*") if path.is_file()]
        results = [name for name in left if name.endswith((".h5", ".safetensors", "index.csv", "dataset.json"))]
        assert not results and not [name for name in left if name.startswith(".") and not name.endswith(".part")], left


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


def make_folder(root: Path) -> dict:
    """Six images, half PNG, half JPEG, with masks; the settings of prepare_data."""
    (root / "photos").mkdir(parents=True)
    (root / "masks").mkdir()
    rows = ["image,labels,split"]
    for number, name in enumerate("abcdef"):
        picture(number).save(root / "photos" / f"{name}.{'png' if number % 2 else 'jpg'}")
        mask = np.zeros(SIZE, np.uint8)
        mask[4:9] = number % 2 + 1
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
        rows.append(f"{name},{'dog' if number % 2 else 'cat'},{'val' if number > 3 else 'train'}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    settings = {"dataset": "folder", "images": root / "photos", "labels": root / "labels.csv", "masks": root / "masks"}
    return {key: str(value) for key, value in settings.items()}


def make_voc(root: Path) -> dict:
    """Three images in VOC's layout; the settings of prepare_data."""
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate("abc"):
        picture(number).save(root / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(np.full(SIZE, 8, np.uint8)).save(root / "SegmentationClass" / f"{name}.png")
        xml = "<annotation><object><name>cat</name></object></annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(xml)
    (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("c\n")
    return {"dataset": "voc", "root": str(root), "train_list": "train"}


def make_coco(root: Path) -> dict:
    """Two training images and one for validation with a box each; the settings of prepare_data."""
    (root / "annotations").mkdir(parents=True)
    height, width = SIZE
    for part, ids in (("train2014", [1, 2]), ("val2014", [3])):
        (root / part).mkdir()
        images, boxes = [], []
        for i in ids:
            picture(i).save(root / part / f"{i}.jpg")
            images.append({"id": i, "file_name": f"{i}.jpg", "height": height, "width": width})
            outline = [[1, 1, 9, 1, 9, 9, 1, 9]]
            boxes.append({"id": i, "image_id": i, "category_id": 7, "area": 64, "iscrowd": 0, "segmentation": outline})
        content = {"images": images, "annotations": boxes, "categories": [{"id": 7, "name": "cat"}]}
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return {"dataset": "coco", "root": str(root)}


Save = Callable[[Path, str], object]


def _plain(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_folder(root: Path, classes: Sequence[str], save: Save = _plain, names: Sequence[str] = "abcd") -> dict:
    """Images that bear the first and the second class by turns, the last for validation, without masks; settings."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["image", "split", *classes])
    for number, name in enumerate(names):
        _save_picture(root / "photos" / f"{name}.png", number)
        split = "val" if number == len(names) - 1 else "train"
        writer.writerow([name, split, *(int(c == number % 2) for c in range(len(classes)))])
    save(root / "labels.csv", rows.getvalue())
    return {"dataset": "folder", "images": str(root / "photos"), "labels": str(root / "labels.csv")}


def write_voc(root: Path, classes: Sequence[str], save: Save = _plain, names: Sequence[str] = "abcd") -> dict:
    """The same in VOC's layout."""
    for folder in ("Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        _save_picture(root / "JPEGImages" / f"{name}.png", number)
        found = escape(classes[number % 2])
        (root / "Annotations" / name).parent.mkdir(parents=True, exist_ok=True)
        save(root / "Annotations" / f"{name}.xml", f"<annotation><object><name>{found}</name></object></annotation>\n")
    lists = root / "ImageSets" / "Segmentation"
    save(lists / "train.txt", "".join(f"{name}\n" for name in names[:-1]))
    save(lists / "val.txt", f"{names[-1]}\n")
    save(root / "classes.txt", "".join(f"{name}\n" for name in classes))
    return {"dataset": "voc", "root": str(root), "train_list": "train"}


def write_coco(root: Path, classes: Sequence[str], save: Save = _plain, names: Sequence[str] = "abcd") -> dict:
    """The same in COCO's layout, with boxes alone."""
    (root / "annotations").mkdir(parents=True)
    for part, chosen in (("train2014", names[:-1]), ("val2014", names[-1:])):
        images, boxes = [], []
        for number, name in enumerate(names):
            if name in chosen:
                _save_picture(root / part / f"{name}.png", number)
                images.append({"id": number, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]})
                boxes.append({"id": number, "image_id": number, "category_id": number % 2, "bbox": [1, 1, 9, 9]})
        categories = [{"id": i, "name": name} for i, name in enumerate(classes)]
        content = {"images": images, "annotations": boxes, "categories": categories}
        save(root / "annotations" / f"instances_{part}.json", json.dumps(content, ensure_ascii=False, indent=1))
    return {"dataset": "coco", "root": str(root)}


WRITE = {"folder": write_folder, "voc": write_voc, "coco": write_coco}
"""Every source that reads files of others."""


def _save_picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number).save(path)


def table_of(out: Path) -> list[tuple[str, str, list[str]]]:
    """(name of the image without folders, split, names of its classes) of a table that prepare_data made."""
    dataset = Dataset(out)
    names = dataset.class_names
    return [(r.image_id.rpartition("/")[2], r.split, [names[c] for c in r.classes]) for r in dataset.records]


def problem_of(image: Path) -> str | None:
    """What the preflight says of an image, if anything."""
    preflight = Preflight()
    preflight.open([Entry("a", image)], 0)
    return str(preflight.problems[0]) if preflight.problems else None
