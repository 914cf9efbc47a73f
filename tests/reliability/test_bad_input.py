"""Input that cannot be used: one line, exit status 2, and nothing half written, for each kind of it."""

from __future__ import annotations

import csv
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from small_data import make_coco, make_folder, make_voc, picture
from wsss.data.dataset import Dataset

MAKE = {"folder": make_folder, "voc": make_voc, "coco": make_coco}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def huge_png(path):
    """A few bytes that say they are 400 million pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def animated(path):
    picture(1).save(path, append_images=[picture(2)], save_all=True)


def frames(root):
    pages = [Image.fromarray(np.full((24, 32), value, np.uint8)) for value in (0, 1)]
    (root / "masks" / "a.png").unlink()
    pages[0].save(root / "masks" / "a.tif", save_all=True, append_images=pages[1:])


def turned(root):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture(1).save(root / "photos" / "a.jpg", exif=exif)


def mask(root, values, name="a"):
    Image.fromarray(np.asarray(values)).save(root / "masks" / f"{name}.png")


def table(root, text, encoding="utf-8"):
    (root / "labels.csv").write_bytes(text.encode(encoding))


def voc_list(root, text, name="train"):
    (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(text)


def coco(root, part="train2014", **changes):
    path = root / "annotations" / f"instances_{part}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def coco_image(**changes):
    return [{"id": 1, "file_name": "1.jpg", "height": 24, "width": 32} | changes]


def box(**changes):
    base = {"id": 1, "image_id": 1, "category_id": 7, "area": 9, "iscrowd": 0, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    return [base | changes]


PREPARE = {
    "truncated JPEG": ("folder", lambda r: cut(r / "photos/a.jpg"), r"a\.jpg: cut short or damaged .*; copy"),
    "truncated PNG": ("folder", lambda r: cut(r / "photos/b.png"), r"b\.png: cut short or damaged .*; copy"),
    "zero bytes": ("folder", lambda r: (r / "photos/a.jpg").write_bytes(b""), r"a\.jpg: empty file \(0 bytes\)"),
    "text file": (
        "folder",
        lambda r: (r / "photos/a.jpg").write_text("hello"),
        r"a\.jpg: not an image but a text file",
    ),
    "web page": ("folder", lambda r: (r / "photos/a.jpg").write_text("<html>"), r"a\.jpg: not an image but a web page"),
    "noise": ("folder", lambda r: (r / "photos/a.jpg").write_bytes(bytes(99)), r"a\.jpg: not an image but something"),
    "animated": (
        "folder",
        lambda r: animated(r / "photos/a.jpg".replace("jpg", "gif")),
        r"labels\.csv line 2|2 frames",
    ),
    "animated PNG": ("folder", lambda r: animated(r / "photos/b.png"), r"b\.png: 2 frames or pages; save the intended"),
    "float pixels": (
        "folder",
        lambda r: Image.fromarray(np.ones((24, 32), np.float32)).save(r / "photos/b.png", "TIFF"),
        r"b\.png: pixels of mode F have no fixed range; save it with 8 or 16 bits",
    ),
    "bomb": ("folder", lambda r: huge_png(r / "photos/b.png"), r"b\.png: more than [\d,]+ pixels; cut it into tiles"),
    "tiny": ("folder", lambda r: picture(1, (8, 40)).save(r / "photos/b.png"), r"b\.png: 40×8 px; both edges"),
    "control characters": (
        "folder",
        lambda r: ((r / "photos/a.jpg").rename(r / "photos/a\x07.jpg"), table(r, "image,labels\na\x07,cat\nb,dog\n")),
        r"image id 'a\\x07' holds control characters.*; rename",
    ),
    "mask of another size": (
        "folder",
        lambda r: mask(r, np.zeros((9, 9), np.uint8)),
        r"masks/a\.png: size \(9, 9\), but its image has \(32, 24\); export",
    ),
    "mask of a turned image": ("folder", turned, r"masks/a\.png: size .*; turn it as its image's EXIF tag does"),
    "mask outside the classes": (
        "folder",
        lambda r: mask(r, np.full((24, 32), 3, np.uint8)),
        r"masks/a\.png: class id 3; accepted are 0\.\.2 and 255",
    ),
    "coloured mask": ("folder", lambda r: mask(r, np.zeros((24, 32, 3), np.uint8)), r"a\.png: mode RGB; a mask is"),
    "16-bit mask": ("folder", lambda r: mask(r, np.zeros((24, 32), np.uint16)), r"a\.png: mode I;16; a mask is"),
    "mask of several pages": ("folder", frames, r"masks/a\.tif: 2 frames or pages; save the intended one"),
    "truncated mask": ("folder", lambda r: cut(r / "masks/a.png"), r"masks/a\.png: cut short or damaged"),
    "empty mask": ("folder", lambda r: (r / "masks/a.png").write_bytes(b""), r"masks/a\.png: empty file"),
    "text as mask": ("folder", lambda r: (r / "masks/a.png").write_text("x"), r"masks/a\.png: no mask but a text"),
    "two rows": (
        "folder",
        lambda r: table(r, "image,labels\na,cat\na.jpg,dog\n"),
        "'a.jpg' has two different rows; leave",
    ),
    "path parts": (
        "folder",
        lambda r: table(r, "image,labels\n../x,cat\n"),
        r"line 2: no image '\.\./x' under .*photos",
    ),
    "absolute path": ("folder", lambda r: table(r, "image,labels\n/etc/passwd,cat\n"), "no image '/etc/passwd' under"),
    "no such image": ("folder", lambda r: table(r, "image,labels\na,cat\nzzz,dog\n"), "line 3: no image 'zzz' under"),
    "no labels": ("folder", lambda r: table(r, "image,labels\na,\nb,\n"), r"labels\.csv: no row names a class"),
    "no training label": (
        "folder",
        lambda r: table(r, "image,cat,split\na,0,train\nc,1,val\n"),
        "no training image has a label",
    ),
    "empty split": ("folder", lambda r: table(r, "image,cat,split\na,1,train\nc,1,train\n"), "every image is in split"),
    "unknown split": (
        "folder",
        lambda r: table(r, "image,cat,split\na,1,test\n"),
        "line 2: split 'test'; accepted: train",
    ),
    "empty CSV": ("folder", lambda r: table(r, ""), r"labels\.csv: no rows below a header"),
    "Excel workbook": (
        "folder",
        lambda r: (r / "labels.csv").write_bytes(b"PK\x03\x04" + bytes(99)),
        r"labels\.csv: is an Excel workbook or a ZIP archive, no text; save it as",
    ),
    "no header": (
        "folder",
        lambda r: table(r, "a,cat\nb,dog\nc,cat\n"),
        r"labels\.csv: its first row names an image, 'a', where column names are needed; accepted",
    ),
    "no CSV": ("folder", lambda r: (r / "labels.csv").unlink(), r"labels\.csv: no such file"),
    "VOC as CSV": (
        "folder",
        lambda r: ((r / "labels.csv").unlink(), make_voc(r / "labels.csv")),
        r"labels\.csv: is a folder; annotations of VOC are read by a run with prepare_data: \{dataset: voc, …\}",
    ),
    "COCO as CSV": (
        "folder",
        lambda r: ((r / "labels.csv").unlink(), make_coco(r / "labels.csv")),
        r"labels\.csv: is a folder; annotations of COCO are read by a run with prepare_data: \{dataset: coco, …\}",
    ),
    "reserved class": (
        "folder",
        lambda r: table(r, "image,labels\na,background\n"),
        "class 'background'; the background",
    ),
    "flag": ("folder", lambda r: table(r, "image,cat,dog\na,1,7\n"), r"line 2: '7' in column 'dog'; accepted: 0 or 1"),
    "image is missing": ("voc", lambda r: (r / "JPEGImages/b.jpg").unlink(), r"b\.jpg: no such image; put it there"),
    "image is a folder": (
        "voc",
        lambda r: ((r / "JPEGImages/b.jpg").unlink(), (r / "JPEGImages/b.jpg").mkdir()),
        r"b\.jpg: a folder, not a file",
    ),
    "listed twice": (
        "voc",
        lambda r: voc_list(r, "a\nb\na\n"),
        r"image id 'a' occurs 2 times; name every image once",
    ),
    "in both splits": ("voc", lambda r: voc_list(r, "a\nb\nc\n"), r"1 image\(s\) in both splits, e\.g\. c; leave"),
    "id with path parts": ("voc", lambda r: voc_list(r, "a\n../../x\n"), r"image id '\.\./\.\./x' leads out of"),
    "absolute id": ("voc", lambda r: voc_list(r, "a\n/etc/passwd\n"), r"image id '/etc/passwd' leads out of"),
    "ids in one line": ("voc", lambda r: voc_list(r, 200 * "a,"), "id 'a,a.*… has a name of 400 bytes, longer than"),
    "empty list": ("voc", lambda r: voc_list(r, "", "val"), r"val\.txt: the image list is empty"),
    "no annotation": ("voc", lambda r: (r / "Annotations/a.xml").unlink(), r"a\.xml: no such annotation; set"),
    "broken XML": ("voc", lambda r: (r / "Annotations/a.xml").write_text("<x"), r"a\.xml: not an XML annotation"),
    "web page as XML": (
        "voc",
        lambda r: (r / "Annotations/a.xml").write_text("<html><body/></html>"),
        r"a\.xml: not an XML annotation \(its root is <html>\); copy",
    ),
    "XML with entities": (
        "voc",
        lambda r: (r / "Annotations/a.xml").write_text(
            '<!DOCTYPE a [<!ENTITY b "cat">]><annotation><object><name>&b;</name></object></annotation>'
        ),
        r"a\.xml: not an XML annotation \(it declares entities, which annotations do not need\)",
    ),
    "an object without a name": (
        "voc",
        lambda r: (r / "Annotations/a.xml").write_text("<annotation><object><bndbox/></object></annotation>"),
        r"a\.xml: not an XML annotation \(an object without a name\)",
    ),
    "unknown class": (
        "voc",
        lambda r: (r / "Annotations/a.xml").write_text("<a><object><name>yeti</name></object></a>"),
        "Annotations/a\\.xml: unknown class 'yeti' of 'a'; known: aeroplane",
    ),
    "class twice": (
        "voc",
        lambda r: (r / "classes.txt").write_text("cat\ncat\n"),
        "classes.txt: class name 'cat' occurs twice; accepted",
    ),
    "class with semicolon": (
        "voc",
        lambda r: (r / "classes.txt").write_text("cat\n" + "\n".join(f"{i};" for i in range(9))),
        "class name '0;'; accepted are different names",
    ),
    "file name leads out": (
        "coco",
        lambda r: coco(r, images=coco_image(file_name="../x.jpg"), annotations=[]),
        "leads out",
    ),
    "same file twice": (
        "coco",
        lambda r: coco(r, images=coco_image() + coco_image(id=2)),
        r"image id 'train2014/1' occurs 2 times",
    ),
    "annotations of another size": (
        "coco",
        lambda r: coco(r, images=coco_image(width=99), annotations=[]),
        r"1\.jpg: size \(32, 24\), but its annotations are for \(99, 24\)",
    ),
    "no height": ("coco", lambda r: coco(r, images=[{"id": 1, "file_name": "1.jpg"}], annotations=[]), "has no height"),
    "not JSON": ("coco", lambda r: cut(r / "annotations/instances_val2014.json"), r"val2014\.json: not JSON"),
    "truncated COCO image": ("coco", lambda r: cut(r / "val2014/3.jpg"), r"3\.jpg: cut short or damaged"),
    "outline is none": (
        "coco",
        lambda r: coco(r, images=coco_image(), annotations=box(segmentation=["x"])),
        "annotation 1 of .*its outline is no list of x and y; correct it, or take it out",
    ),
    "outline without end": (
        "coco",
        lambda r: coco(r, images=coco_image(), annotations=box(segmentation=[[1e300, 1, 9, 1, 9, 9]])),
        "annotation 1 of .*its outline leads further than 100,000 px; correct it",
    ),
    "a key twice": (
        "coco",
        lambda r: (p := r / "annotations/instances_val2014.json").write_text(p.read_text()[:-1] + ', "images": []}'),
        r"val2014\.json: not JSON \(the key 'images' is repeated\)",
    ),
    "outlines in fractions": (
        "coco",
        lambda r: coco(r, images=coco_image(), annotations=box(segmentation=[[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]])),
        r"train2014\.json: its outlines are fractions of the images' sizes \(0 to 1\); accepted are pixels",
    ),
    "crowd as text": (
        "coco",
        lambda r: coco(r, images=coco_image(), annotations=box(iscrowd="0")),
        r"train2014\.json: annotation 1 has iscrowd '0'; accepted: 0 or 1",
    ),
    "number without end": (
        "coco",
        lambda r: (r / "annotations/instances_train2014.json").write_text('{"images": ' + "9" * 5000 + "}"),
        r"train2014\.json: not JSON",
    ),
    "empty part": ("coco", lambda r: coco(r, "val2014", images=[], annotations=[]), "split 'val' is empty"),
}


@pytest.mark.parametrize("case", PREPARE)
def test_prepare_data_refuses(case, stage, tmp_path):
    kind, spoil, message = PREPARE[case]
    settings = MAKE[kind](tmp_path / "data")
    spoil(tmp_path / "data")
    stage("prepare_data", tmp_path / "out", config=settings).assert_refused(message)


def test_unknown_class_of_the_settings(stage, tmp_path):
    settings = make_folder(tmp_path / "data") | {"classes": ["cat", "cow"]}
    refused = stage("prepare_data", tmp_path / "out", config=settings)
    refused.assert_refused(r"prepare_data\.classes: 'dog' of .* is not among them; given: cat, cow")


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_problems_are_in_one_table_and_skip_leaves_them_out(stage, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    settings = make_folder(data)
    cut(data / "photos" / "a.jpg")
    mask(data, np.full((24, 32), 9, np.uint8), "c")
    stopped = stage("prepare_data", out, config=settings)
    stopped.assert_refused(r"a\.jpg: cut short .*skip leaves such images out \(and 1 more, listed in .*problems\.csv\)")
    assert "file " in stopped.text and stopped.text.count("class id 9") == 1
    problems = read(out / "problems.csv")
    assert [row["image_id"] for row in problems] == ["a", "c"] and all(row["what to do"] for row in problems)
    skipped = stage("prepare_data", out, config=settings | {"on_bad_image": "skip"})
    assert skipped.code == 0 and "2 image(s) are left out" in skipped.text
    assert [record.image_id for record in Dataset(out).records] == ["b", "d", "e", "f"]
    assert read(out / "skipped.csv") == problems and not (out / "problems.csv").exists()


def test_skip_stops_where_nothing_is_left_and_at_what_it_cannot_mend(stage, tmp_path):
    settings = make_voc(tmp_path / "data") | {"on_bad_image": "skip"}
    voc_list(tmp_path / "data", "a\na\n")
    stage("prepare_data", tmp_path / "out", config=settings).assert_refused("image id 'a' occurs 2 times")
    voc_list(tmp_path / "data", "a\n")
    for name in "ac":
        cut(tmp_path / "data" / "JPEGImages" / f"{name}.jpg")
    stage("prepare_data", tmp_path / "out", config=settings).assert_refused(
        "no image can be used; the first problem of 2"
    )


def test_images_without_label_and_classes_without_image_are_remarks(stage, tmp_path):
    settings = make_folder(tmp_path / "data")
    table(tmp_path / "data", "image,cat,dog,split\na,1,0,train\nb,0,0,train\nc,0,1,val\n")
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "1 image(s) have no label" in done.text
    assert "1 class(es) have no training image and cannot be learned: dog" in done.text


@pytest.mark.parametrize("mode", ["CMYK", "LA", "RGBA", "PA", "P", "1", "L", "I;16", "YCbCr", "rotated", "MPO"])
def test_other_kinds_of_images_are_read(mode, stage, tmp_path):
    from wsss.data.dataset import read_image

    settings = make_folder(tmp_path / "data") | {"masks": None}
    path = tmp_path / "data" / "photos" / "a.jpg"
    if mode == "rotated":
        turned(tmp_path / "data")
    elif mode == "MPO":
        picture(1).save(path, "MPO", save_all=True, append_images=[picture(2)])
    elif mode == "I;16":
        Image.fromarray(np.full((24, 32), 0x8123, np.uint16)).save(path, "PNG")
    else:
        image = picture(1).convert("RGBA").convert("L" if mode == "PA" else mode)
        image.convert(mode).save(path, "TIFF")
    assert stage("prepare_data", tmp_path / "out", config=settings).code == 0
    record = Dataset(tmp_path / "out").records[0]
    image = read_image(record.image)
    assert image.shape == (*record.size, 3) and image.dtype == np.uint8
    if mode == "I;16":
        assert (image == 0x81).all()


def test_transparent_becomes_white(tmp_path):
    from wsss.data.dataset import read_image

    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[:10] = (10, 20, 30, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image[:10] == (10, 20, 30)).all() and (image[10:] == 255).all()
