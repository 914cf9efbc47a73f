"""COCO in miniature: crowds, overlaps, empty images, run-length masks; and one line for what is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from wsss.data.checks import Preflight
from wsss.data.dataset import Dataset, read_mask, write_index
from wsss.data.sources.coco.index import coco_index
from wsss.data.sources.coco.settings import Settings

CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 3, "name": "car"}]

IMAGE = [{"id": 1, "file_name": "000000000001.jpg", "height": 20, "width": 24}]


def without(entry, *keys):
    return {key: value for key, value in entry.items() if key not in keys}


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


def test_images_that_the_file_does_not_list_are_remarked(root):
    Image.new("RGB", (24, 20)).save(root / "train2014" / "x.JPG")
    for unlabelled in ("keep", "drop"):
        preflight = Preflight()
        index(root, preflight=preflight, unlabelled=unlabelled)
        told = f"instances_train2014.json and are left out, e.g. {root}/train2014/x.JPG"
        (note,) = preflight.notes
        assert note.startswith("1 image(s) are not in ") and told in note


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
        (lambda r: edit(r, "val2014", categories=CATEGORIES[:2]), "annotation 16 has category_id "),
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


def boxes_alone(root, part, keep=()):
    """Takes the outlines out of a part's annotations, but for some."""
    path = root / "annotations" / f"instances_{part}.json"
    annotations = json.loads(path.read_text())["annotations"]
    edit(root, part, annotations=[a if a["id"] in keep else without(a, "segmentation") for a in annotations])


def test_boxes_alone_give_labels_and_no_masks(root):
    preflight = Preflight()
    expected = [row["labels"] for row in index(root)[2]]
    for part in ("train2014", "val2014"):
        boxes_alone(root, part)
    settings = Settings(dataset="coco", root=root, on_bad_image="stop")
    assert not settings.has_masks
    rows = index(root, out=root / "out2", preflight=preflight)[2]
    assert [row["labels"] for row in rows] == expected
    assert {(row["mask"], row["measured"]) for row in rows} == {("", "0")} and not (root / "out2" / "masks").exists()
    notes = list(preflight.remarks(["background"], rows))
    assert len(notes) == 2 and "no annotation has an outline; its images have labels, and no masks" in notes[0]


def test_an_image_with_a_box_alone_has_no_mask(root):
    boxes_alone(root, "train2014", keep=(11, 13, 14))
    preflight = Preflight()
    rows = index(root, measured=None, preflight=preflight)[2]
    assert [bool(row["mask"]) for row in rows] == [False, True, True, True]
    assert "1 image(s) have objects with a box alone, e.g. train2014/000000000001" in preflight.notes[0]
    assert Settings(dataset="coco", root=root, on_bad_image="stop").has_masks


def test_areas_are_measured_where_they_are_not_given(root):
    expected = index(root)[2]
    path = root / "annotations" / "instances_train2014.json"
    for area in ({}, {"area": None}, {"area": "9"}):
        annotations = json.loads(path.read_text())["annotations"]
        edit(root, "train2014", annotations=[without(a, "area") | area for a in annotations])
        assert index(root, out=root / "out2")[2] == expected
        for name in ("000000000001", "000000000002"):
            same = [read_mask(root / out / "masks/train2014" / f"{name}.png") for out in ("out", "out2")]
            assert (same[0] == same[1]).all()


OUTLINES = {
    "two points": ([[1, 1, 9, 9]], "its outline has 2 points, a polygon has 3 or more; correct it"),
    "one point": ([[1, 1]], "its outline has 1 points"),
    "an odd number of numbers": ([[1, 1, 9, 1, 9, 9, 4]], "its outline is no list of x and y"),
    "words": ([["1", "1", "9", "1", "9", "9"]], "its outline is no list of x and y"),
    "no number": ([[1, 1, 9, 1, 9, float("nan")]], "its outline is no list of x and y"),
    "a polygon that is not in a list": ([1, 1, 9, 1, 9, 9], "its outline is no list of x and y"),
    "text": ("polygon", "its segmentation is str, accepted are polygons or run lengths"),
    "run lengths of another size": ({"size": [24, 20], "counts": [0, 480]}, r"for the size \[24, 20\], but its image"),
    "run lengths without a size": ({"counts": [0, 480]}, "for the size None, but its image has"),
    "run lengths of other pixels": ({"size": [20, 24], "counts": [0, 479]}, "cover 479 pixels, an image of"),
    "negative run lengths": ({"size": [20, 24], "counts": [-1, 481]}, "its run lengths cannot be read"),
    "text that is no run length": ({"size": [20, 24], "counts": "zzz"}, "cannot be read"),
    "half a run length": ({"size": [20, 24], "counts": "PPYo"}, "cannot be read"),
}


@pytest.mark.parametrize("case", OUTLINES)
def test_an_outline_that_cannot_be_painted_is_named_and_can_be_skipped(root, case):
    outline, message = OUTLINES[case]
    edit(root, "train2014", annotations=[box(11, 1, 3, 0, 0, 9, 9, segmentation=outline), box(14, 2, 90, 4, 0, 4, 20)])
    with pytest.raises(ValueError, match=rf"annotation 11 of .*000000000001\.jpg: .*{message}") as caught:
        index(root)
    assert "\n" not in str(caught.value)
    preflight = Preflight(on_bad_image="skip")
    rows = index(root, preflight=preflight)[2]
    assert [row["image_id"][-1] for row in rows] == ["2", "3", "4"] and len(preflight.problems) == 1


def test_outlines_in_every_form(root):
    from pycocotools import mask as rle

    truth = np.zeros((20, 24), np.uint8)
    truth[1:5, 2:9] = 1
    text = rle.encode(np.asfortranarray(truth))["counts"].decode()
    runs = np.diff(np.flatnonzero(np.diff(np.r_[2, truth.T.ravel(), 2]))).tolist()
    square = [2, 1, 9, 1, 9, 5, 2, 5]
    forms = [[square], [square, [1, 1, 9, 9]], {"size": [20, 24], "counts": text}, {"size": [20, 24], "counts": runs}]
    for number, outline in enumerate(forms):
        edit(root, "train2014", annotations=[box(11, 1, 3, 2, 1, 7, 4, segmentation=outline)])
        index(root, out=root / str(number))
        assert (read_mask(root / str(number) / "masks/train2014/000000000001.png") == 2 * truth).all()


STRUCTURES = {
    "an image twice": ({"images": IMAGE * 2}, r"1 id\(s\) of images occur twice, e\.g\. 1"),
    "a category twice": (
        {"categories": CATEGORIES + CATEGORIES[:1]},
        r"1 id\(s\) of categories occur twice, e\.g\. 90",
    ),
    "a category without a name": ({"categories": [{"id": 1}]}, "category 1 has no name; accepted: str"),
    "an image without a height": ({"images": [without(IMAGE[0], "height")]}, "image 1 has no height; accepted: int"),
    "a width in words": ({"images": [IMAGE[0] | {"width": "24"}]}, "image 1 has width '24'; accepted: int"),
    "an image that is none": ({"images": ["a.jpg"]}, "image number 0 is no object"),
    "an annotation of nothing": ({"annotations": [{"id": 7}]}, "annotation 7 has no image_id; accepted: int or str"),
    "an annotation without an id": ({"annotations": [{"image_id": 1}]}, "annotation number 0 has no category_id"),
    "no annotations": ({"annotations": None}, "no list 'annotations'; accepted: images, annotations and categories"),
}


@pytest.mark.parametrize("case", STRUCTURES)
def test_a_file_that_lacks_something_gets_one_line(root, case):
    changes, message = STRUCTURES[case]
    edit(root, "train2014", **changes)
    with pytest.raises(ValueError, match=rf"instances_train2014\.json: {message}"):
        index(root)


@pytest.mark.parametrize("more", [{}, {"area": 0}])
def test_an_empty_outline_is_a_box_alone(root, more):
    edit(root, "train2014", annotations=[box(11, 1, 3, 0, 0, 9, 9, segmentation=[[]], **more)])
    assert [(row["labels"], bool(row["mask"])) for row in index(root)[2][:1]] == [("car", False)]


@pytest.mark.parametrize("name", ["{part}/{file}", "./{file}", "x\\{file}", "x/{file}", "000000000004", "{upper}"])
def test_file_names_as_programs_write_them(root, name):
    file = "000000000004.jpg"
    if "x" in name:
        (root / "val2014" / "x").mkdir()
        (root / "val2014" / file).rename(root / "val2014" / "x" / file)
    image = {
        "id": 4,
        "file_name": name.format(part="val2014", file=file, upper=file.upper()),
        "height": 20,
        "width": 24,
    }
    edit(root, "val2014", images=[image])
    row = index(root)[2][-1]
    assert row["labels"] == "person;car" and row["image_id"].endswith("000000000004")


def test_equal_names_in_different_folders_are_two_images(root):
    for folder in ("x", "y"):
        (root / "val2014" / folder).mkdir()
        Image.new("RGB", (24, 20)).save(root / "val2014" / folder / "a.jpg")
    images = [{"id": i, "file_name": f"{f}/a.jpg", "height": 20, "width": 24} for i, f in ((4, "x"), (5, "y"))]
    edit(root, "val2014", images=images)
    rows = index(root)[2][-2:]
    assert [(row["image_id"], row["labels"]) for row in rows] == [("val2014/x/a", "person;car"), ("val2014/y/a", "")]


def test_images_without_objects_and_beside_the_list_are_left_out(root):
    (root / "part.txt").write_text("000000000004.jpg\n")
    _, _, rows = index(root, unlabelled="drop", val_list=root / "part.txt")
    assert [(row["split"], bool(row["labels"])) for row in rows] == [("train", True), ("train", True), ("val", True)]
    (root / "part.txt").write_text("000000000009\n")
    with pytest.raises(ValueError, match=r"part\.txt: 1 image\(s\) are not in .*000000000009"):
        index(root, val_list=root / "part.txt")
