"""The VOC reader: three sources of labels, and one clear line where something is missing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from wsss.data.dataset import Dataset, read_image, write_index
from wsss.data.sources.voc.index import VOC_CLASSES, voc_index

MASKS = {"a": [0, 3, 255], "b": [0, 1, 15], "c": [0, 20]}


@pytest.fixture
def voc(tmp_path):
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    for name, values in MASKS.items():
        mask = np.resize(np.array(values, np.uint8), (24, 18))
        Image.fromarray(mask, "L").save(tmp_path / "SegmentationClass" / f"{name}.png")
        Image.new("RGB", (18, 24)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        names = [VOC_CLASSES[v - 1] for v in values if v not in (0, 255)]
        objects = "".join(f"<object><name>{n}</name></object>" for n in names)
        (tmp_path / "Annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\n")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("c\n")
    rows = "\n".join(f"{n},{' '.join(VOC_CLASSES[v - 1] for v in vs if v not in (0, 255))}" for n, vs in MASKS.items())
    (tmp_path / "labels.csv").write_text(f"image,labels\n{rows}\n")
    return tmp_path


def index(voc, **changes):
    return voc_index(voc, **({"train_list": "train", "val_list": "val", "labels": "annotations"} | changes))


def test_annotations_masks_and_csv_agree(voc):
    by_source = [index(voc, labels=s)[2] for s in ("annotations", "masks", str(voc / "labels.csv"))]
    assert by_source[0] == by_source[1] == by_source[2]
    assert [row["labels"] for row in by_source[0]] == ["bird", "aeroplane;person", "tvmonitor"]


def test_the_table_gives_back_what_was_written(voc, tmp_path):
    names, palette, rows = index(voc)
    write_index(tmp_path / "out", "voc", names, palette, rows)
    dataset = Dataset(tmp_path / "out")
    assert len(dataset.class_names) == 21 and dataset.palette[1].tolist() == [128, 0, 0]
    a, b = dataset.split("train")
    assert (a.image_id, a.size, a.classes.tolist(), b.classes.tolist()) == ("a", (24, 18), [3], [1, 15])
    assert [r.image_id for r in dataset.split("val")] == ["c"]


@pytest.mark.parametrize(
    ("spoil", "changes", "message"),
    [
        (lambda v: None, {"train_list": "trian"}, "trian.txt: no such image list; lists there: train, val"),
        (lambda v: (v / "JPEGImages/b.jpg").unlink(), {}, "b.jpg: no such image"),
        (lambda v: (v / "Annotations/a.xml").unlink(), {}, "a.xml: no such annotation"),
        (lambda v: (v / "Annotations/a.xml").write_text("<x"), {}, "a.xml: not an XML annotation"),
        (
            lambda v: (v / "Annotations/a.xml").write_text("<a><object><name>cow2</name></object></a>"),
            {},
            "labels of 'a': unknown class 'cow2'",
        ),
        (lambda v: (v / "ImageSets/Segmentation/val.txt").write_text(""), {}, "val.txt: the image list is empty"),
        (lambda v: (v / "ImageSets/Segmentation/val.txt").write_text("a"), {}, "1 image\\(s\\) in both splits"),
        (lambda v: (v / "labels.csv").write_text("image,labels\na,bird\n"), {"labels": "CSV"}, "no row for 2 listed"),
        (lambda v: None, {"labels": "annotation"}, "'annotation' is neither annotations, masks nor a CSV"),
    ],
)
def test_what_is_missing_is_named(voc, spoil, changes, message):
    spoil(voc)
    if changes.get("labels") == "CSV":
        changes = {"labels": str(voc / "labels.csv")}
    with pytest.raises(ValueError, match=message):
        index(voc, **changes)


def test_a_truncated_image_is_named(voc):
    path = voc / "JPEGImages" / "a.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.jpg: not a readable image"):
        read_image(path)
