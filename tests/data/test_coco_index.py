"""COCO in miniature: crowds, overlaps, empty images, run-length masks; and one line for what is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from wsss.data.dataset import Dataset, read_mask, write_index
from wsss.data.sources.coco.index import coco_index

CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 3, "name": "car"}]


def box(number, image, category, x, y, w, h, **more):
    corners = [x, y, x + w, y, x + w, y + h, x, y + h]
    base = {"id": number, "image_id": image, "category_id": category, "area": w * h, "iscrowd": 0, "bbox": [x, y, w, h]}
    return base | {"segmentation": [corners]} | more


def crowd(number, image, category, columns):
    """A crowd over the first columns of a 20 × 24 image, as COCO's uncompressed run lengths."""
    runs = {"size": [20, 24], "counts": [0, 20 * columns, 20 * (24 - columns)]}
    return box(number, image, category, 0, 0, columns, 20, iscrowd=1, segmentation=runs)


@pytest.fixture
def root(tmp_path):
    parts = {
        "train2014": (
            [1, 2, 3],
            [box(11, 1, 3, 0, 0, 24, 20), box(12, 1, 1, 2, 2, 4, 4), crowd(13, 2, 1, 6), box(14, 2, 90, 4, 0, 4, 20)],
        ),
        "val2014": ([4], [box(15, 4, 1, 1, 1, 3, 3), box(16, 4, 3, 0, 0, 0, 0, segmentation=[])]),
    }
    (tmp_path / "annotations").mkdir()
    for part, (images, instances) in parts.items():
        (tmp_path / part).mkdir()
        for i in images:
            Image.new("RGB", (24, 20)).save(tmp_path / part / f"{i:012d}.jpg")
        content = {
            "images": [{"id": i, "file_name": f"{i:012d}.jpg", "height": 20, "width": 24} for i in images],
            "annotations": instances,
            "categories": CATEGORIES,
        }
        (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return tmp_path


def index(root, **changes):
    settings = {"train_part": "train2014", "val_part": "val2014", "measured": 2, "out": root / "out"} | changes
    return coco_index(root, **settings)


def test_masks_labels_and_splits(root):
    write_index(root / "out", "coco", *index(root))
    dataset = Dataset(root / "out")
    assert dataset.class_names == ["background", "person", "car", "toothbrush"]
    overlap, crowded, empty = dataset.split("train")
    assert [r.classes.tolist() for r in (overlap, crowded, empty)] == [[1, 2], [1, 3], []]
    assert [r.measured for r in (overlap, crowded, empty)] == [True, False, True]
    mask = read_mask(overlap.mask)
    assert mask.shape == (20, 24) and (mask == 1).sum() == 16 and (mask == 2).sum() == 464, "the small one on top"
    mask = read_mask(crowded.mask)
    assert (mask[:, :4] == 255).all() and (mask[:, 4:8] == 3).all() and (mask[:, 8:] == 0).all(), "crowds are void"
    assert not read_mask(empty.mask).any()
    (record,) = dataset.split("val")
    assert record.image_id == "val2014/000000000004" and record.classes.tolist() == [1, 2]


def test_masks_are_painted_once(root):
    index(root)
    mask = root / "out" / "masks" / "train2014" / "000000000001.png"
    before = mask.stat().st_mtime_ns
    index(root)
    assert mask.stat().st_mtime_ns == before


def edit(root, part, **changes):
    path = root / "annotations" / f"instances_{part}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: (r / "annotations/instances_val2014.json").unlink(), r"instances_val2014\.json: no such file; get"),
        (lambda r: (r / "annotations/instances_val2014.json").write_text("{"), r"val2014\.json: not JSON"),
        (lambda r: (r / "annotations/instances_val2014.json").write_text("[]"), r"val2014\.json: not COCO instances"),
        (lambda r: edit(r, "val2014", categories={}), r"val2014\.json: no list 'categories'"),
        (lambda r: edit(r, "val2014", categories=CATEGORIES[:2]), "annotation 16 is of an image or a category"),
        (
            lambda r: edit(r, "val2014", annotations=[], categories=CATEGORIES[:1]),
            "categories of train2014 and val2014",
        ),
        (lambda r: (r / "val2014/000000000004.jpg").unlink(), r"000000000004\.jpg: no such image; put it there"),
    ],
)
def test_what_is_wrong_is_named(root, spoil, message):
    spoil(root)
    with pytest.raises(ValueError, match=message) as caught:
        index(root)
    assert "\n" not in str(caught.value)


def test_masks_survive_compression(root):
    index(root)
    with Image.open(root / "out" / "masks" / "train2014" / "000000000001.png") as image:
        assert image.mode == "P" and set(np.unique(image)) == {1, 2}
