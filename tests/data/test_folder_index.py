"""Somebody's own folder: nested, mixed, turned; and one clear line for what cannot be used."""

from __future__ import annotations

import errno
import os
import unicodedata

import numpy as np
import pytest
from PIL import ExifTags, Image

from small_data import problem_of
from wsss.data.dataset import Dataset, image_size, read_image, write_index
from wsss.data.files import files_below
from wsss.data.sources.folder.index import folder_index, survey
from wsss.data.sources.folder.settings import Settings
from wsss.runtime.contents import Contents

SETTINGS = {"masks": None, "classes": None, "val_fraction": 0.4, "split_seed": 0, "max_edge": 64}


@pytest.fixture
def own(tmp_path):
    """Five images of different kinds below `photos`, a CSV, and masks of two of them."""
    photos = tmp_path / "photos"
    (photos / "day 1").mkdir(parents=True)
    for folder in (".cache", "__MACOSX", "@eaDir"):
        (photos / folder).mkdir()
        Image.new("RGB", (25, 25)).save(photos / folder / "thumb.jpg")
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 20), "red").save(photos / "day 1" / "a.jpg", exif=turned)
    Image.new("RGBA", (30, 30)).save(photos / "day 1" / "b.PNG")
    Image.new("CMYK", (200, 100)).save(photos / "c.tif")
    Image.fromarray(np.full((20, 20), 40000, np.uint16)).save(photos / "grey16.png")
    Image.new("P", (25, 25)).save(photos / unicodedata.normalize("NFD", "käfer.gif"))
    (photos / "notes.txt").write_text("not an image")
    rows = ["day 1/a.jpg,cat dog", "b,cat", r"photos\C.TIF,dog", "grey16.png,", "käfer,cat"]
    (tmp_path / "labels.csv").write_text("image,labels\n" + "\n".join(rows) + "\n", encoding="utf-8-sig")
    (tmp_path / "masks" / "day 1").mkdir(parents=True)
    Image.fromarray(np.resize(np.array([0, 1, 2, 255], np.uint8), (40, 20))).save(tmp_path / "masks/day 1/a.png")
    Image.fromarray(np.full((100, 200), 2, np.uint8)).save(tmp_path / "masks" / "c.png")
    return tmp_path


def index(own, **changes):
    out = own / "out"
    made = folder_index(own / "photos", own / "labels.csv", **(SETTINGS | changes), out=out)
    write_index(out, "folder", *made)
    return Dataset(out)


def test_every_kind_of_image_is_found_read_and_split(own):
    dataset = index(own)
    assert dataset.class_names == ["background", "cat", "dog"]
    by_id = {record.image_id: record for record in dataset.records}
    assert {unicodedata.normalize("NFC", i) for i in by_id} == {"day 1/a", "day 1/b", "c", "grey16", "käfer"}
    assert by_id["day 1/a"].classes.tolist() == [1, 2] and by_id["grey16"].classes.tolist() == []
    assert {len(dataset.split("train")), len(dataset.split("val"))} == {2, 3}
    for record in dataset.records:
        image = read_image(record.image)
        assert image.shape == (*record.size, 3) and image.dtype == np.uint8 and record.mask is None
    assert by_id["day 1/a"].size == (40, 20), "turned by its EXIF tag"
    assert by_id["c"].size == (32, 64), "shrunk"
    assert read_image(by_id["grey16"].image).max() == 40000 >> 8


def test_masks_measure_and_follow_their_image(own):
    by_id = {r.image_id: r for r in index(own, masks=own / "masks").records}
    assert {i for i, r in by_id.items() if r.measured} == {"day 1/a", "c"}
    assert image_size(by_id["c"].mask) == by_id["c"].size == (32, 64)


def test_a_split_column_decides(own):
    (own / "labels.csv").write_text("image,cat,split\na,1,val\nb,1,train\nc,0,train\n")
    assert [r.image_id for r in index(own).split("val")] == ["day 1/a"]


def test_the_digest_follows_every_file(own):
    settings = Settings(
        dataset="folder", images=own / "photos", labels=own / "labels.csv", masks=own / "masks", on_bad_image="stop"
    )

    def text():
        return Contents(own / "cache.json").digest(settings.content(), "own")

    first = text()
    assert first == text()
    Image.new("RGB", (31, 30)).save(own / "photos" / "new.jpg")
    second = text()
    (own / "labels.csv").write_text("image,cat\na,1\n")
    assert len({first, second, text()}) == 3


@pytest.mark.parametrize(
    ("spoil", "changes", "message"),
    [
        ("image,labels\nz.jpg,cat\n", {}, r"labels\.csv line 2: no image 'z\.jpg' under .*photos"),
        ("image,labels\na,cat\nday 1/a.jpg,dog\n", {}, r"lines 2 and 3: 'day 1/a\.jpg' has two different rows"),
        ("image,cat,split\na,1,train\nb,1,\n", {}, r"line 3: no split; give every row train or val"),
        ("image,cat,split\na,1,train\nb,1,train\n", {}, "every image is in split 'train'; both"),
        (None, {"classes": ["cat"]}, r"classes: 'dog' of .*labels\.csv is not among them; given: cat"),
        (None, {"masks": "nowhere"}, "prepare_data.masks: no such folder"),
        (None, {"masks": "photos"}, r"a\.png|mode|class id"),
    ],
)
def test_wrong_inputs_get_one_line(own, spoil, changes, message):
    if spoil:
        (own / "labels.csv").write_text(spoil)
    if "masks" in changes:
        changes = {"masks": own / changes["masks"]}
    with pytest.raises(ValueError, match=message) as caught:
        index(own, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((40, 20), 3, np.uint8), r"a\.png: class id 3; accepted are 0\.\.2 and 255"),
        (np.zeros((20, 40), np.uint8), r"a\.png: size \(40, 20\), but its image has \(20, 40\)"),
        (np.zeros((40, 20, 3), np.uint8), r"a\.png: mode RGB; a mask is"),
    ],
)
def test_wrong_masks_get_one_line(own, mask, message):
    Image.fromarray(mask).save(own / "masks" / "day 1" / "a.png")
    with pytest.raises(ValueError, match=message):
        index(own, masks=own / "masks")


def test_broken_tiny_and_huge_images_are_named(own, monkeypatch):
    photos = own / "photos"
    whole = (photos / "day 1" / "a.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) - 40])
    (photos / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (200, 8)).save(photos / "tiny.png")
    names = ["cut.jpg", "empty.jpg", "tiny.png", "c.tif", "grey16.png"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    problems = [found for name in names if (found := problem_of(photos / name))]
    assert [p.split(":")[0].rsplit("/", 1)[1] for p in problems] == names[:4]
    assert "200×8 px; both edges" in problems[2] and "cut it into tiles" in problems[3]


def test_two_images_of_one_name_need_a_path(own):
    Image.new("RGB", (25, 25)).save(own / "photos" / "a.png")
    seen = survey(own / "photos", own / "labels.csv")
    assert {f.image_id for f in seen.found} >= {"day 1/a"} and seen.unlabelled == [own / "photos" / "a.png"]
    (own / "labels.csv").write_text("image,labels\na.jpg,cat\nA,cat\n")
    assert survey(own / "photos", own / "labels.csv").problems == []
    Image.new("RGB", (25, 25)).save(own / "photos" / "day 1" / "a.webp")
    (own / "labels.csv").write_text("image,labels\nday 1/a,cat\n")
    assert "may be 'day 1/a.jpg' or 'day 1/a.webp'" in survey(own / "photos", own / "labels.csv").problems[0].problem


def test_photographs_of_formats_that_are_not_read_are_named(own):
    (own / "photos" / "day 1" / "IMG_1.HEIC").write_bytes(b"x")
    (own / "photos" / "raw.dng").write_bytes(b"x")
    with (own / "labels.csv").open("a") as file:
        file.write("IMG_1.HEIC,cat\n")
    seen = survey(own / "photos", own / "labels.csv")
    assert seen.unread.startswith(f"not read under {own / 'photos'}: 1 .heic, 1 .dng, e.g. IMG_1.HEIC; save them")
    assert "'IMG_1.HEIC' is of a format that is not read; save it as JPEG" in str(seen.problems[0])
    (own / "only").mkdir()
    (own / "only" / "a.nef").touch()
    with pytest.raises(ValueError, match=r"no image in it.*1 \.nef.* save them as JPEG"):
        survey(own / "only", own / "labels.csv")


def test_what_a_run_wrote_within_the_folder_is_no_input(own):
    before = [name for name, _ in files_below(own)]
    for written in ("results/tiny/pseudo-labels/0.png", "results/stages/infer_cam/a/0.png"):
        (own / written).parent.mkdir(parents=True)
        Image.new("L", (40, 30)).save(own / written)
    (own / "results" / "stages" / ".content.json").write_text("{}")
    assert [name for name, _ in files_below(own)] == before
    assert len(list(files_below(own / "results" / "tiny"))) == 1


def test_a_stripe_keeps_the_smallest_edge(own):
    Image.new("RGB", (2000, 20)).save(own / "photos" / "stripe.png")
    with (own / "labels.csv").open("a") as file:
        file.write("stripe,cat\n")
    by_id = {r.image_id: r.size for r in index(own, max_edge=64).records}
    assert by_id["stripe"] == (16, 1600)


def folders(root, *images):
    """Images of 20 × 20 px at paths below `root`."""
    for number, image in enumerate(images):
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number, 0, 0)).save(root / image)
    return root


def test_without_a_csv_folders_of_classes_are_the_labels(tmp_path):
    root = folders(tmp_path / "p", "cat/1.jpg", "cat/old/2.jpg", "dining  table/1.jpg", "background/4.png")
    names, _, rows = folder_index(root, None, **SETTINGS, out=tmp_path)
    assert names == ["background", "cat", "dining table"]
    found = {row["image_id"]: row["labels"] for row in rows}
    assert found == {"cat/1": "cat", "cat/old/2": "cat", "dining  table/1": "dining table", "background/4": ""}


def test_folders_of_splits_hold_folders_of_classes(tmp_path):
    root = folders(tmp_path / "p", "train/cat/1.jpg", "train/dog/1.jpg", "Validation/cat/2.jpg")
    _, _, rows = folder_index(root, None, **SETTINGS, out=tmp_path)
    found = {row["image_id"]: (row["labels"], row["split"]) for row in rows}
    cat, dog, val = ("cat", "train"), ("dog", "train"), ("cat", "val")
    assert found == {"train/cat/1": cat, "train/dog/1": dog, "Validation/cat/2": val}


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (["cat/1.jpg", "2.jpg"], r"2\.jpg: lies in no folder of a class; accepted without a CSV"),
        (["train/cat/1.jpg", "val/2.jpg"], r"val/2\.jpg: lies in no folder of a class"),
        (["train/cat/1.jpg", "test/cat/2.jpg"], "its folders 'train' and 'test' are a split and a class"),
        (["Cat/1.jpg", "cat/2.jpg"], "classes 'Cat' and 'cat' differ in case only"),
        (["void/1.jpg", "cat/2.jpg"], "void"),
        (["images/1.jpg", "masks/1.png"], r"images/1\.jpg: its folder 'images' is by its name no class; accepted"),
        (["train/images/1.jpg", "val/images/2.jpg"], "its folder 'images' is by its name no class"),
        (["cat/1.jpg", "Ground_Truth/1.png"], "its folder 'Ground_Truth' is by its name no class"),
        (["cat/image/1.jpg", "cat/mask/1.png"], "its folder 'mask' is by its name no class"),
        (["cat/a (1).png", "cat/a (1)_mask_1.png"], r"a \(1\)_mask_1\.png: is by its name a mask of the image beside"),
        (["cat/train/1.jpg", "dog/train/2.jpg"], r"cat/train/1\.jpg: its folder 'train' is a split below a class"),
        (["cat/1.jpg", "cat/1_gtFine_labelIds.png"], r"1_gtFine_labelIds\.png: is by its name a mask of the image"),
        (["cat/1.jpg", "cat/mask_1.png"], r"mask_1\.png: is by its name a mask of the image beside it"),
        (["pets/cat/1.jpg", "pets/dog/2.jpg"], r"p/pets: holds folders \('cat' …\) and is the only class; accepted"),
        (["x/train/cat/1.jpg", "x/val/cat/2.jpg"], r"x/train/cat/1\.jpg: its folder 'train' is a split below"),
        (["JPEGImages/1.jpg"], "annotations of VOC are read by a run with prepare_data: {dataset: voc"),
    ],
)
def test_folders_that_are_no_labels_are_refused(images, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        survey(folders(tmp_path / "p", *images), None)


def test_folders_without_images_and_files_that_may_be_masks_are_remarked(tmp_path):
    root = folders(tmp_path / "p", "cat/1.jpg", "cat/1.png", "dog/2.jpg")
    (root / "bird").mkdir()
    (root / "bird" / "1.xyz").touch()
    remarks = " ".join(survey(root, None).table.remarks)
    assert "1 folder(s) hold no image that is read and are no classes, e.g. " in remarks and "p/bird" in remarks
    assert "2 images differ in nothing but their suffix, e.g. " in remarks


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    root, scan = folders(tmp_path / "p", "cat/1.jpg", "dog/2.jpg"), os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PermissionError, match="p/dog"):
        list(files_below(root))


def test_faces_with_masks_are_classes(tmp_path):
    images = ["mask/1.jpg", "no_mask/2.jpg", "no_mask/3_mask.jpg"]
    assert survey(folders(tmp_path / "p", *images), None).table.classes == ["mask", "no_mask"]


def test_an_image_moved_to_another_class_changes_the_content(tmp_path):
    root = folders(tmp_path / "p", "cat/1.jpg", "dog/2.jpg")
    settings = Settings(dataset="folder", images=root)
    before = settings.digests(Contents())
    (root / "cat/1.jpg").rename(root / "dog/1.jpg")
    assert settings.missing() is None and settings.digests(Contents()) != before
