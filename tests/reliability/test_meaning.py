"""Content against meaning: masks that are no masks of class ids, or of other classes than their image's labels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import ExifTags, Image

from small_data import SIZE, WRITE, make_coco, make_folder, make_voc, picture, write_coco
from wsss.cli import init
from wsss.data.dataset import Dataset
from wsss.plan.run import missing_inputs, plan_runs

MAKE = {"folder": (make_folder, "masks", "abcdef"), "voc": (make_voc, "SegmentationClass", "abc")}


def paint(folder, names, value):
    for name in names:
        mask = np.zeros(SIZE, np.uint8)
        mask[4:9] = value
        Image.fromarray(mask).save(folder / f"{name}.png")


@pytest.mark.parametrize("source", MAKE)
def test_masks_of_black_and_white_are_refused(stage, tmp_path, source):
    make, folder, names = MAKE[source]
    settings = make(tmp_path / "data")
    paint(tmp_path / "data" / folder, names, 255)
    refused = stage("prepare_data", tmp_path / "out", config=settings)
    refused.assert_refused(r"\.png: it and all other masks hold nothing but 0 and 255 .*; save objects as their class")


@pytest.mark.parametrize("source", MAKE)
def test_masks_without_their_images_classes_are_remarked(stage, tmp_path, source):
    make, folder, names = MAKE[source]
    settings = make(tmp_path / "data")
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "show none of" not in done.text
    paint(tmp_path / "data" / folder, names[:2], 0)
    done = stage("prepare_data", tmp_path / "out2", config=settings)
    assert done.code == 0 and f"2 of {len(names)} masks show none of their image's classes, e.g. that of a" in done.text


@pytest.mark.parametrize("source", MAKE)
def test_masks_of_more_classes_than_labels_are_remarked(stage, tmp_path, source):
    make, folder, names = MAKE[source]
    settings = make(tmp_path / "data")
    for name in names[:2]:  # ids that begin with 1 for the background
        mask = np.ones(SIZE, np.uint8)
        mask[4:9] = 2 if source == "folder" else 8
        Image.fromarray(mask).save(tmp_path / "data" / folder / f"{name}.png")
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "masks show a class that their image is not labelled with, e.g. that of" in done.text


def test_shallow_pixels_are_remarked(stage, tmp_path):
    settings = make_folder(tmp_path / "data")
    Image.fromarray(np.full(SIZE, 4000, np.uint16)).save(tmp_path / "data" / "photos" / "b.png")
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "1 16-bit image(s) use fewer bits, e.g. b" in done.text


def run_init(monkeypatch, capfd, settings, config):
    """The exit status and the terminal of `wsss init` on a folder with masks."""
    given = ["init", settings["images"], "--labels", settings["labels"], "--masks", settings["masks"]]
    monkeypatch.setattr("sys.argv", [*given, "--config", str(config)])
    with pytest.raises(SystemExit) as end:
        init.main()
    return end.value.code, capfd.readouterr()


def copy_image(root, source):
    """The first training image again, as a validation image under its own name."""
    pairs = {"folder": ("photos/a.jpg", "photos/e.jpg"), "voc": ("JPEGImages/a.jpg", "JPEGImages/c.jpg")}
    first, second = pairs.get(source, ("train2014/1.jpg", "val2014/3.jpg"))
    shutil.copy(root / first, root / second)


SOURCES_OF_MASKS = MAKE | {"coco": (make_coco, "", "")}


@pytest.mark.parametrize("source", SOURCES_OF_MASKS)
def test_a_photograph_in_both_splits_is_remarked(stage, tmp_path, source):
    settings = SOURCES_OF_MASKS[source][0](tmp_path / "data")
    assert "under different names" not in stage("prepare_data", tmp_path / "out", config=settings).text
    copy_image(tmp_path / "data", source)
    done = stage("prepare_data", tmp_path / "out2", config=settings)
    assert done.code == 0 and "1 file(s) are in train and in val under different names, e.g. " in done.text


def test_a_photograph_with_two_labels_is_remarked(tmp_path, monkeypatch, capfd):
    settings = make_folder(tmp_path / "data")
    shutil.copy(tmp_path / "data/photos/b.png", tmp_path / "data/photos/c.png")
    (tmp_path / "data/photos/c.jpg").unlink()
    _, found = run_init(monkeypatch, capfd, settings, tmp_path / "photos.yaml")
    assert "note: 1 file(s) have several names with different labels, e.g. b and c" in found.out


@pytest.mark.parametrize("source", SOURCES_OF_MASKS)
@pytest.mark.parametrize("turn", [2, 3, 4])
def test_a_turn_that_the_size_does_not_show_is_remarked(stage, tmp_path, source, turn):
    settings = SOURCES_OF_MASKS[source][0](tmp_path / "data")
    path = next(path for path in (tmp_path / "data").rglob("*") if path.name in ("a.jpg", "1.jpg"))
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = turn
    picture(1).save(path, exif=tags)
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "1 image(s) with masks are turned by EXIF in a way that does not show" in done.text


@pytest.mark.parametrize("source", MAKE)
def test_masks_of_other_formats_are_remarked(stage, tmp_path, source):
    make, folder, _ = MAKE[source]
    settings = make(tmp_path / "data")
    mask = tmp_path / "data" / folder / "a.png"
    mask.rename(mask.with_suffix(".npy"))
    picture(1).save(mask.with_name("b.jpg"))
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "2 file(s) in '" in done.text and "are not read as masks, e.g. a.npy; save" in done.text


@pytest.mark.parametrize("source", MAKE)
def test_a_mask_of_two_images_is_refused(stage, tmp_path, source):
    settings = MAKE[source][0](tmp_path / "data")
    images = tmp_path / "data" / ("photos" if source == "folder" else "JPEGImages")
    picture(7).save(images / "A.jpg")
    for file, row in (("labels.csv", "A.jpg,cat,train\n"), ("ImageSets/Segmentation/train.txt", "A\n")):
        if (tmp_path / "data" / file).is_file():
            (tmp_path / "data" / file).open("a").write(row)
    refused = stage("prepare_data", tmp_path / "out", config=settings)
    assert refused.code == 2 and "would be the mask of two images, " in refused.text
    assert source == "folder" or "would be the annotation of 2 images" in refused.text


@pytest.mark.parametrize("source", MAKE)
def test_a_name_of_several_files_is_remarked(stage, tmp_path, source):
    make, folder, _ = MAKE[source]
    settings = make(tmp_path / "data")
    Image.new("L", SIZE[::-1]).save(tmp_path / "data" / folder / "a.tif")
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "1 name(s) have several files in" in done.text
    assert "e.g. a.png and a.tif; a.png is used" in done.text and "like no labelled image" not in done.text


@pytest.mark.parametrize(
    ("source", "split"), [("folder", "train"), ("folder", "val"), ("voc", "train"), ("voc", "val")]
)
def test_a_split_that_is_not_measured_is_remarked(stage, tmp_path, source, split):
    make, folder, _ = MAKE[source]
    settings = make(tmp_path / "data")
    names = {"folder": {"train": "abcd", "val": "ef"}, "voc": {"train": "ab", "val": "c"}}[source][split]
    for name in names:
        (tmp_path / "data" / folder / f"{name}.png").unlink()
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and f"no image of {split} has a mask to measure with: nothing is measured" in done.text


@pytest.mark.parametrize("source", WRITE)
def test_names_that_may_be_no_class_or_several_are_remarked(stage, tmp_path, source):
    names = ["Empty", "cat-dog", "cat", "dog", "and", "!dog", "no cat", "dog:0.9", "7", "8.0", "no entry", "16:9"]
    done = stage("prepare_data", tmp_path / "out", config=WRITE[source](tmp_path / "data", names))
    for told in (
        "class 'Empty': where an image shows none",
        "class 'cat-dog' may be 2 classes",
        "class 'and' may be a word between",
        "class '!dog' may say that an image lacks 'dog'",
        "class 'no cat' may say that an image lacks 'cat'",
        "class 'dog:0.9' may be a name and a number",
        "2 of 12 classes are numbers (7, 8.0 …), which are taken for their names",
    ):
        assert done.code == 0 and told in done.text, done.text
    assert done.text.count(" may be ") == 3 and done.text.count(" may say ") == 2


@pytest.mark.parametrize("source", SOURCES_OF_MASKS)
def test_a_class_of_every_image_is_remarked(stage, tmp_path, source):
    settings = SOURCES_OF_MASKS[source][0](tmp_path / "data")
    if source == "folder":
        table = tmp_path / "data" / "labels.csv"
        table.write_text(table.read_text().replace("dog", "cat dog"))
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "class 'cat' is in every image: without images that lack it" in done.text


def test_an_unlabelled_image_whose_mask_shows_a_class_is_remarked(stage, tmp_path):
    settings = make_folder(tmp_path / "data")
    table = tmp_path / "data" / "labels.csv"
    table.write_text(table.read_text().replace("a,cat", "a,"))
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert (
        done.code == 0
        and "1 of 6 masks show a class that their image is not labelled with, e.g. that of a" in done.text
    )


MASKS = {
    "0 and 255": (lambda folder: paint(folder, "abcdef", 255), "nothing but 0 and 255"),
    "another size": (lambda folder: Image.new("L", (9, 9)).save(folder / "b.png"), r"size (9, 9), but its image has"),
    "class ids that are none": (lambda folder: paint(folder, "b", 9), "class id 9; accepted are 0..2 and 255"),
    "colours": (lambda folder: Image.new("RGB", SIZE[::-1]).save(folder / "b.png"), "mode RGB; a mask is a palette"),
}


@pytest.mark.parametrize("case", MASKS)
def test_init_refuses_masks_that_prepare_data_refuses(stage, tmp_path, monkeypatch, capfd, case):
    spoil, message = MASKS[case]
    settings = make_folder(tmp_path / "data")
    spoil(tmp_path / "data" / "masks")
    code, found = run_init(monkeypatch, capfd, settings, tmp_path / "photos.yaml")
    assert code == 2 and message in found.err and not (tmp_path / "photos.yaml").exists()
    refused = stage("prepare_data", tmp_path / "out", config=settings)
    assert refused.code == 2 and message in refused.text


SPLITS = {
    "one image": ("image,labels\na,cat\n", r"labels.csv: 1 image(s); train and val need one each"),
    "all for training": ("image,labels,split\na,cat,train\nb,dog,train\n", "every image is in split 'train'; both"),
    "one without a split": ("image,labels,split\na,cat,train\nb,dog,val\nc,cat,\n", "line 4: no split; give every row"),
    "labels for validation alone": ("image,cat,split\na,0,train\nb,1,val\n", "no training image has a label"),
}


@pytest.mark.parametrize("case", SPLITS)
def test_init_refuses_splits_that_prepare_data_refuses(stage, tmp_path, monkeypatch, capfd, case):
    text, message = SPLITS[case]
    settings = make_folder(tmp_path / "data")
    for mask in (tmp_path / "data" / "masks").iterdir():
        Image.new("L", SIZE[::-1]).save(mask)
    (tmp_path / "data" / "labels.csv").write_text(text)
    code, found = run_init(monkeypatch, capfd, settings, tmp_path / "photos.yaml")
    assert code == 2 and message in found.err and not (tmp_path / "photos.yaml").exists()
    refused = stage("prepare_data", tmp_path / "out", config=settings)
    assert refused.code == 2 and message in refused.text


def test_init_remarks_what_prepare_data_remarks(tmp_path, monkeypatch, capfd):
    settings = make_folder(tmp_path / "data")
    paint(tmp_path / "data" / "masks", "ab", 0)
    for name in "ef":
        (tmp_path / "data" / "masks" / f"{name}.png").unlink()
    table = tmp_path / "data" / "labels.csv"
    table.write_bytes(table.read_bytes().replace(b"cat", "c\u00e4t".encode("cp1252")).replace(b"f,dog", b"f,yak"))
    _, found = run_init(monkeypatch, capfd, settings, tmp_path / "photos.yaml")
    assert "note: 2 of 4 masks show none of their image's classes" in found.out
    assert "note: 1 class(es) have no training image and cannot be learned: yak" in found.out
    assert "note: no image of val has a mask to measure with: nothing is measured on val" in found.out
    assert "read as Windows-1252: 'a,c\u00e4t,train'" in found.out


def test_outlines_that_show_nothing_are_remarked(stage, tmp_path):
    settings = make_coco(tmp_path / "data")
    path = tmp_path / "data" / "annotations" / "instances_train2014.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = [[900, 900, 950, 900, 950, 950]]
    path.write_text(json.dumps(content))
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "1 of 3 masks show none of their image's classes, e.g. that of train2014/1" in done.text


def without_masks(root, source):
    if source == "coco":
        return write_coco(root, ["cat", "dog"])
    settings = {"folder": make_folder, "voc": make_voc}[source](root)
    folder = root / MAKE[source][1]
    for mask in folder.iterdir():
        mask.unlink()
    return settings | ({"masks": None} if source == "folder" else {})


ASKED = {
    "oracle": ({"choose_threshold": "oracle", "upper_bound": False}, "choose_threshold: oracle needs {masks}; without"),
    "an upper bound": (
        {"upper_bound": True, "choose_threshold": "auto"},
        "upper_bound: true needs {masks}, one for every image",
    ),
    "nothing": ({"upper_bound": False, "choose_threshold": "auto"}, None),
}
FROM = {"folder": "prepare_data.masks", "voc": "masks in SegmentationClass", "coco": "outlines in the annotations"}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("source", FROM)
def test_without_masks_nothing_is_measured(stage, tmp_path, source, asked):
    settings = without_masks(tmp_path / "data", source)
    run, message = ASKED[asked]
    plan = plan_runs({"runs": {"tiny": {"preset": "shapes", "prepare_data": settings} | run}})["tiny"]
    found = missing_inputs(plan)
    assert found is None if message is None else message.format(masks=FROM[source]) in found
    assert stage("prepare_data", tmp_path / "out", config=settings).code == 0
    assert not any(record.mask or record.measured for record in Dataset(tmp_path / "out").records)
