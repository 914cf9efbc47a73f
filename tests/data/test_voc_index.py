"""The VOC reader: three sources of labels, and one clear line where something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss.data.checks import Preflight
from wsss.data.dataset import Dataset, read_image, write_index
from wsss.data.sources.voc.index import VOC_CLASSES, voc_index
from wsss.data.sources.voc.settings import Settings

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
            "a\\.xml: unknown class 'cow2' of 'a'; did you mean 'cow'",
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


PSA = "/JPEGImages/a.jpg /SegmentationClassAug/a.png\n/JPEGImages/b.jpg /SegmentationClassAug/b.png\n"
LISTS = {
    "ids": "a\nb\n",
    "PSA's pairs": PSA,
    "pairs without a first slash": PSA.replace("/JPEG", "JPEG").replace(" /", " "),
    "pairs with tabs": PSA.replace(" ", "\t"),
    "pairs with commas": PSA.replace(" ", ", "),
    "images alone": "/JPEGImages/a.jpg\n/JPEGImages/b.jpg\n",
    "absolute paths": "/data/VOC2012/JPEGImages/a.jpg\n/data/VOC2012/JPEGImages/b.jpg\n",
    "Windows": "JPEGImages\\a.jpg SegmentationClassAug\\a.png\r\nJPEGImages\\b.jpg SegmentationClassAug\\b.png\r\n",
    "names with suffix": "a.jpg\nb.jpg\n",
    "VOC's list of a class": "a  1\nb -1\n",
    "numbers of classes": "a 0 14\nb 3\n",
    "names with numbers": "a.jpg 0 14\nb.jpg 3\n",
    "a mark and Windows' lines": "\ufeffa\r\nb\r\n",
    "another case": "A\nB.JPG\n",
    "no last line's end, blank lines": "\na \n\n b",
}


@pytest.mark.parametrize("form", LISTS)
def test_lists_that_people_have(voc, form):
    (voc / "ImageSets" / "Segmentation" / "train.txt").write_bytes(LISTS[form].encode())
    preflight = Preflight()
    rows = index(voc, labels="masks", preflight=preflight)[2]
    assert [row["image_id"].lower() for row in rows] == ["a", "b", "c"]
    assert [row["labels"] for row in rows] == ["bird", "aeroplane;person", "tvmonitor"]
    assert [row["image"] for row in rows] == [str(voc / "JPEGImages" / f"{name}.jpg") for name in "abc"]
    assert ("numbers" in " ".join(preflight.notes)) == ("number" in form or "list of a class" in form)


def test_ids_with_blanks_are_no_pairs(voc):
    names = ["my photo 1", "my photo 2", "x.jpg y"]
    for old, new in zip("abc", names, strict=True):
        (voc / "JPEGImages" / f"{old}.jpg").rename(voc / "JPEGImages" / f"{new}.jpg")
        (voc / "SegmentationClass" / f"{old}.png").rename(voc / "SegmentationClass" / f"{new}.png")
    (voc / "ImageSets" / "Segmentation" / "train.txt").write_text("my photo 1\nmy photo 2\n")
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("x.jpg y\n")
    preflight = Preflight()
    rows = index(voc, labels="masks", preflight=preflight)[2]
    assert [row["image_id"] for row in rows] == names and not preflight.notes
    assert [row["labels"] for row in rows] == ["bird", "aeroplane;person", "tvmonitor"]


def test_masks_of_sbd_give_labels_as_well(voc):
    (voc / "SegmentationClass").rename(voc / "SegmentationClassAug")
    (voc / "SegmentationClass").mkdir()
    rows = index(voc, labels="masks")[2]
    assert [row["labels"] for row in rows] == ["bird", "aeroplane;person", "tvmonitor"]
    assert all("SegmentationClassAug" in row["mask"] and row["measured"] == "1" for row in rows)
    (voc / "SegmentationClassAug" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"b\.jpg: no mask to take its labels from; put one into Segment"):
        index(voc, labels="masks")
    skipped = index(voc, labels="masks", preflight=Preflight(on_bad_image="skip"))[2]
    assert [row["image_id"] for row in skipped] == ["a", "c"]


def test_the_listed_mask_is_taken(voc):
    (voc / "Other").mkdir()
    Image.fromarray(np.full((24, 18), 5, np.uint8)).save(voc / "Other" / "a.png")
    (voc / "ImageSets" / "Segmentation" / "train.txt").write_text("/JPEGImages/a.jpg /Other/a.png\nb\n")
    rows = index(voc, labels="masks")[2]
    assert [row["labels"] for row in rows] == ["bottle", "aeroplane;person", "tvmonitor"]
    assert rows[0]["mask"] == str(voc / "Other" / "a.png")
    (voc / "Other" / "a.png").unlink()
    preflight = Preflight()
    assert index(voc, labels="masks", preflight=preflight)[2][0]["labels"] == "bird"
    assert "1 listed mask(s) are not there, e.g. /Other/a.png; those of the image's name" in preflight.notes[0]


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".JPG", ".bmp", ".tif", ".webp", ".gif"])
def test_images_of_every_suffix(voc, suffix):
    (voc / "JPEGImages" / "a.jpg").unlink()
    Image.new("RGB", (18, 24)).save(voc / "JPEGImages" / f"a{suffix}")
    (voc / "SegmentationClass" / "a.png").rename(voc / "SegmentationClass" / "a.PNG")
    rows = index(voc)[2]
    assert rows[0]["image"].endswith(f"a{suffix}") and rows[0]["mask"].endswith("a.PNG") and rows[0]["labels"] == "bird"


CSVS = {
    "suffixes": "image,labels\na.jpg,bird\nb.jpg,aeroplane person\nc.jpg,tvmonitor\nother.jpg,cat\n",
    "paths": "image,labels\nJPEGImages/a.jpg,bird\nJPEGImages/b,aeroplane person\nJPEGImages/c,tvmonitor\n",
    "one row a label": "image,label\na,bird\nb,aeroplane\nb,person\nc,tvmonitor\n",
    "flags": "image,bird,aeroplane,person,tvmonitor\na,1,0,0,0\nb,0,1,1,0\nc,0,0,0,1\n",
    "lists": ",image,labels\n0,a,['bird']\n1,b,\"['aeroplane', 'person']\"\n2,c,['tvmonitor']\n",
}


@pytest.mark.parametrize("form", CSVS)
def test_tables_are_read_as_for_folders(voc, form):
    (voc / "labels.csv").write_text(CSVS[form])
    rows = index(voc, labels=str(voc / "labels.csv"))[2]
    assert [row["labels"] for row in rows] == ["bird", "aeroplane;person", "tvmonitor"]


def test_two_ids_of_one_image_are_refused(voc):
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("A\n")
    with pytest.raises(ValueError, match=r"a\.jpg: has two ids, 'a' and 'A'; name every image once"):
        index(voc, labels="masks")


def test_the_digest_is_of_the_files_that_are_read(voc):
    (voc / "ImageSets" / "Segmentation" / "train.txt").write_text(PSA)
    (voc / "SegmentationClass" / "c.png").rename(voc / "SegmentationClass" / "c.bmp")
    settings = Settings(dataset="voc", root=voc, train_list="train", labels="masks", on_bad_image="stop")
    rows = index(voc, labels="masks")[2]
    read = {Path(row[key]) for row in rows for key in ("image", "mask")}
    assert read <= {path for _, path in settings.content()} and settings.has_masks
    for name in ("a.png", "b.png", "c.bmp"):
        (voc / "SegmentationClass" / name).unlink()
    assert not settings.has_masks


XML = "<annotation><object><name>bird</name></object><!-- \u732b\u00e4 --></annotation>"
XMLS = {
    "UTF-8": ("utf-8", XML),
    "another encoding, declared": ("gb2312", '<?xml version="1.0" encoding="GB2312"?>' + XML.replace("\u00e4", "")),
    "Latin-1, declared": ("latin-1", "<?xml version='1.0' encoding='iso-8859-1'?>" + XML.replace("\u732b", "")),
    "UTF-16, declared as UTF-8": ("utf-16", '<?xml version="1.0" encoding="utf-8"?>' + XML),
    "UTF-8, declared as UTF-16": ("utf-8", '<?xml version="1.0" encoding="utf-16"?>' + XML),
    "tags in capitals": ("utf-8", XML.replace("object", "Object").replace("name", "NAME").replace("ann", "Ann")),
    "a deleted object": ("utf-8", XML.replace("<!--", "<object><name>cat</name><deleted>1</deleted></object><!--")),
    "an unknown encoding": ("utf-8", '<?xml version="1.0" encoding="ansi"?>' + XML),
}


@pytest.mark.parametrize("form", XMLS)
def test_annotations_in_every_encoding(voc, form):
    encoding, text = XMLS[form]
    (voc / "Annotations" / "a.xml").write_bytes(text.encode(encoding))
    preflight = Preflight()
    assert index(voc, preflight=preflight)[2][0]["labels"] == "bird" and not preflight.notes


OTHERS = {
    "another name": ("<filename>b.jpg</filename>", 1),
    "another size": ("<size><width>999</width><height>9</height></size>", 1),
    "both": ("<filename>b</filename><size><width>999</width><height>9</height></size>", 1),
    "its own, with folders": ("<filename>..\\x\\a.png</filename>", 0),
    "sizes that say nothing": ("<filename/><size><width>0</width><height>many</height></size>", 0),
}


@pytest.mark.parametrize("case", OTHERS)
def test_an_annotation_of_another_image_is_remarked(voc, case):
    stated, count = OTHERS[case]
    (voc / "Annotations" / "a.xml").write_text(XML.replace("<object>", f"{stated}<object>"), encoding="utf-8")
    preflight = Preflight()
    names, _, rows = index(voc, preflight=preflight)
    remarks = " ".join(preflight.remarks(names, rows))
    assert (f"{count} annotation(s) state another image's name or size, e.g. that of a" in remarks) == bool(count)


def test_a_column_of_splits_beside_lists_is_remarked(voc):
    (voc / "labels.csv").write_text("image,labels,split\na,bird,val\nb,person,train\nc,bird,train\n")
    preflight = Preflight()
    rows = index(voc, labels=str(voc / "labels.csv"), preflight=preflight)[2]
    assert [row["split"] for row in rows] == ["train", "train", "val"]
    assert "its column of splits is not used; the image lists divide the images" in " ".join(preflight.notes)
