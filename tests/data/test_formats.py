"""Label maps to other tools' files and back; what does not fit is one line."""

from __future__ import annotations

import json
from argparse import Namespace

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from pycocotools.coco import COCO

from wsss.cli.labels import bring, export, export_command
from wsss.config.registry import FORMATS
from wsss.data.dataset import write_index
from wsss.data.formats.reading import recognised
from wsss.data.palette import voc_palette
from wsss.runtime.labels import IGNORE
from wsss.store.maps import open_labels
from wsss.store.writers import LabelWriter

CLASSES = ["background", "cat", "Hündin", "bus"]


@pytest.fixture
def labels(tmp_path):
    """Four label maps, one of background alone and two with holes, and the file that holds them."""
    rng = np.random.default_rng(0)
    maps = {
        "day 1/a": rng.integers(0, 4, (13, 17)).astype(np.uint8),
        "empty": np.zeros((5, 9), np.uint8),
        "ring": np.pad(np.pad(np.zeros((3, 3), np.uint8), 4, constant_values=2), 3),
        "islands": np.repeat(np.repeat(rng.integers(0, 3, (40, 50)), 3, 0), 3, 1).astype(np.uint8),
    }
    maps["day 1/a"][:2, :2] = [[1, 0], [0, 0]]  # a part of the first pixel alone
    with LabelWriter(tmp_path / "labels.h5", class_names=CLASSES, palette=voc_palette()[:4]) as writer:
        for image_id, label in maps.items():
            writer.add(image_id, label)
    return tmp_path / "labels.h5", maps


READABLE = [name for name, module in FORMATS.modules.items() if hasattr(module.Settings, "reader")]


@pytest.mark.parametrize("name", READABLE)
def test_what_is_exported_comes_back(labels, tmp_path, name):
    file, maps = labels
    assert export(file, name, tmp_path / "out") == 4
    sizes = {image_id: label.shape for image_id, label in maps.items()}
    assert recognised(tmp_path / "out") == name
    assert bring(tmp_path / "out", "auto", CLASSES, tmp_path / "masks", sizes.get) == 4
    for image_id, label in maps.items():
        with Image.open(tmp_path / "masks" / f"{image_id}.png") as mask:
            assert mask.mode == "P" and np.array_equal(np.array(mask), label)


def test_void_is_background_to_tools_that_have_none(tmp_path):
    label = np.array([[0, 1, IGNORE]], np.uint8)
    with LabelWriter(tmp_path / "l.h5", class_names=CLASSES, palette=voc_palette()[:4]) as writer:
        writer.add("a", label)
    for name in READABLE:
        export(tmp_path / "l.h5", name, tmp_path / name)
        bring(tmp_path / name, name, CLASSES, tmp_path / f"{name}-masks", lambda _: (1, 3))
        with Image.open(tmp_path / f"{name}-masks" / "a.png") as mask:
            assert np.array(mask).tolist() == ([[0, 1, IGNORE]] if name == "png" else [[0, 1, 0]])


def test_pycocotools_reads_the_regions(labels, tmp_path):
    file, maps = labels
    export(file, "coco", tmp_path / "out")
    coco = COCO(tmp_path / "out" / "instances.json")
    made = np.zeros((13, 17), np.uint8)
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=1)):
        made[coco.annToMask(annotation) > 0] = annotation["category_id"]
    assert np.array_equal(made, maps["day 1/a"])


def test_yolo_polygons_cover_the_parts(labels, tmp_path):
    file, maps = labels
    export(file, "yolo", tmp_path / "out")
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text())["names"] == {0: "cat", 1: "Hündin", 2: "bus"}
    assert (tmp_path / "out/labels/empty.txt").read_text() == ""
    (line,) = (tmp_path / "out/labels/ring.txt").read_text().splitlines()
    values = np.array(line.split()[1:], float).reshape(-1, 2)
    assert line.startswith("1 ") and values.min() >= 0 and values.max() <= 1
    canvas = Image.new("L", (170, 170))
    ImageDraw.Draw(canvas).polygon([(x, y) for x, y in (values * 170).tolist()], fill=1)
    wrong = np.array(canvas) != (maps["ring"] > 0).repeat(10, 0).repeat(10, 1)
    assert wrong.mean() < 0.02
    with pytest.raises(ValueError, match="no image 'empty' whose size is known"):
        bring(tmp_path / "out", "yolo", CLASSES, tmp_path / "masks")


def test_polygons_and_boxes_drawn_by_hand(tmp_path):
    square = [[2, 1], [5, 1], [5, 3], [2, 3]]
    expected = np.zeros((8, 10), np.uint8)
    expected[1:4, 2:6] = 1
    shapes = [{"label": "cat", "points": square, "shape_type": "polygon"}]
    (tmp_path / "labelme").mkdir()
    about = {"imageHeight": 8, "imageWidth": 10, "shapes": shapes}
    (tmp_path / "labelme" / "a.json").write_text(json.dumps(about))
    points = ";".join(f"{x},{y}" for x, y in square)
    xml = f'<image name="a.JPG" width="10" height="8"><polygon label="cat" points="{points}"/></image>'
    (tmp_path / "cvat.xml").write_text(f"<annotations>{xml}</annotations>")
    region = {"image_id": 7, "category_id": 90, "segmentation": [np.ravel(square).tolist()], "area": 12}
    image = {"id": 7, "file_name": "a.JPG", "height": 8, "width": 10}
    content = {"images": [image], "annotations": [region], "categories": [{"id": 90, "name": "cat"}]}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    for name, source in (("labelme", "labelme"), ("cvat", "cvat.xml"), ("coco", "coco.json")):
        bring(tmp_path / source, name, CLASSES, tmp_path / f"{name}-masks")
        with Image.open(tmp_path / f"{name}-masks" / "a.png") as mask:
            assert np.array_equal(np.array(mask), expected), name


def region(**changes):
    """A COCO file of one region."""
    image = {"id": 7, "file_name": "a.jpg", "height": 4, "width": 4}
    annotation = {"image_id": 7, "category_id": 90, "area": None} | changes
    content = {"images": [image], "annotations": [annotation], "categories": [{"id": 90, "name": "cat"}]}
    return json.dumps(content)


def shape(points, **more):
    """A labelme file of one polygon, or of another shape."""
    return json.dumps({"imageHeight": 4, "imageWidth": 4, "shapes": [{"label": "cat", "points": points} | more]})


def painted(region, about='name="a.jpg" width="4" height="4"'):
    """A file of CVAT with one region."""
    return f"<annotations><image {about}>{region}</image></annotations>"


FAR_OUT = [[90, 90], [99, 90], [99, 99]]
INSTANCES = json.loads(region(segmentation=[[0, 0, 3, 0, 3, 3]]))
SHARES = "0 0.1 0.1 0.9 0.1 0.9 0.9\n"
DRAWN = {
    "labelme: outside of the image": (shape(FAR_OUT), "an outline from 90×90 to 99×99, outside of the image of 4×4 px"),
    "labelme: shares": (shape([[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]), "pixels, not shares of the image's size"),
    "labelme: no shapes": ('{"imageHeight": 4, "imageWidth": 4}', "not a file of labelme \\(it has no 'shapes'\\)"),
    "labelme: a class's number": (
        '{"imageHeight": 4, "imageWidth": 4, "shapes": [{"label": 1, "points": []}]}',
        "no class '1'; classes: cat",
    ),
    "labelme: a key twice": (shape(FAR_OUT)[:-1] + ', "shapes": []}', "the key 'shapes' is repeated"),
    "labelme: points as mappings": (shape([{"x": 1, "y": 2}] * 3), "accepted is a list of pairs of x and y"),
    "labelme: a rectangle of one corner": (shape([[1, 1]], shape_type="rectangle"), "accepted are two or more of its"),
    "coco: outside of the image": (
        region(segmentation=[np.ravel(FAR_OUT).tolist()]),
        "outside of the image of 4×4 px",
    ),
    "coco: shares": (region(segmentation=[[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]]), "its outlines are fractions"),
    "coco: of no image": (region(image_id=8), "has image_id 8, which is not listed; ids: 7 …"),
    "coco: ids as text": (region(category_id="90"), "has category_id '90', which is not listed; ids: 90 …"),
    "coco: a key twice": (region()[:-1] + ', "annotations": []}', "not JSON \\(the key 'annotations' is repeated\\)"),
    "coco: an image under two ids": (
        json.dumps(INSTANCES | {"images": [INSTANCES["images"][0] | {"id": i} for i in (7, 8)]}),
        "image 'a' occurs twice; leave one",
    ),
    "cvat: outside of the image": (
        painted('<polygon label="cat" points="90,90;99,90;99,99"/>'),
        "outside of the image of 4×4 px",
    ),
    "cvat: a turned box": (
        painted('<box label="cat" xtl="0" ytl="0" xbr="2" ybr="2" rotation="9"/>'),
        "a box turned by 9°; accepted are upright ones",
    ),
    "cvat: a box without an end": (painted('<box label="cat" xtl="0" ytl="0"/>'), "it has no 'xbr'"),
    "cvat: an image without a name": (painted("", 'width="4" height="4"'), "it has no 'name'"),
    "cvat: an image twice": (painted("").replace("</annotations>", painted("")[13:]), "image 'a' occurs twice"),
    "cvat: tracks of a video": ("<annotations><track/></annotations>", "holds tracks of a video; accepted is"),
    "yolo: pixels": ("0 1 1 3 1 3 3\n", "accepted are a class and shares of the image's size, from 0 to 1"),
    "yolo: a confidence": (f"{SHARES[:-1]} 0.9\n", "accepted are a class and shares"),
    "yolo: commas": (SHARES.replace(" ", ","), "accepted are a class and shares"),
    "yolo: an unknown class": (f"9{SHARES[1:]}", "class 9; accepted: 0"),
}
"""Annotations whose regions would be lost, or painted elsewhere, → the message."""
FILES = {"labelme": "a.json", "coco": "instances.json", "cvat": "annotations.xml", "yolo": "labels/a.txt"}


@pytest.mark.parametrize("case", DRAWN)
def test_no_region_is_lost_in_silence(tmp_path, case):
    (text, message), name = DRAWN[case], case.partition(":")[0]
    (file := tmp_path / "in" / FILES[name]).parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        bring(tmp_path / "in", name, CLASSES, tmp_path / "masks", lambda _: (4, 4))
    assert "\n" not in str(caught.value) and "in" in str(caught.value) and not (tmp_path / "masks").exists()


def test_crowds_are_void_and_names_of_windows_have_folders(tmp_path, caplog):
    crowd = {"size": [4, 4], "counts": [0, 16]}
    content = json.loads(region(segmentation=crowd, iscrowd=1, area=16))
    content["annotations"] += json.loads(region(segmentation=[[0, 0, 1, 0, 1, 3, 0, 3]], area=99))["annotations"]
    content["images"][0]["file_name"] = "x\\a.jpg"
    (tmp_path / "x.JSON").write_text(json.dumps(content))
    with caplog.at_level("WARNING", "wsss"):
        bring(tmp_path / "x.JSON", "auto", CLASSES, tmp_path / "masks")
    assert "1 region(s) are crowds (iscrowd: 1) and become void, e.g. annotation" in caplog.text
    with Image.open(tmp_path / "masks" / "x" / "a.png") as mask:
        assert np.array(mask).tolist() == [[1, 1, 255, 255]] * 4


@pytest.mark.parametrize("name", ["http://x/a.jpg", "../a.jpg", "/a.jpg"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    content = INSTANCES | {"images": [INSTANCES["images"][0] | {"file_name": name}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="leads out of the data set's folder or has empty path parts"):
        bring(tmp_path / "instances.json", "coco", CLASSES, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_masks_of_black_and_white_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    for name, value in (("a", 0), ("b", 255)):
        Image.new("L", (4, 4), value).save(tmp_path / "in" / f"{name}.png")
    with pytest.raises(ValueError, match="'b': it and all other masks hold nothing but 0 and 255"):
        bring(tmp_path / "in", "auto", CLASSES, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


PALETTES = {
    "sorted by use": ([2, 0, 1], "x\\.png: id 0 has the colour of class id 2, as paint programs sort a palette by use"),
    "shorter": ([0, 2], "x\\.png: id 1 has the colour of class id 2"),
    "as exported": ([0, 1, 2], None),
    "of other colours": ([0, 90, 91], None),
    "one colour": ([0, 0, 0], None),
}
"""The class ids whose colours the ids of a mask have → the message."""


@pytest.mark.parametrize("case", PALETTES)
def test_a_palette_whose_colours_are_those_of_other_ids_is_refused(tmp_path, case):
    order, message = PALETTES[case]
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) % len(order))
    image.putpalette(voc_palette()[order].tobytes())
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in" / "x.png")
    if message is None:
        assert bring(tmp_path / "in", "auto", CLASSES, tmp_path / "masks") == 1
        return
    with pytest.raises(ValueError, match=message):
        bring(tmp_path / "in", "auto", CLASSES, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_masks_beside_another_tool_s_files_are_not_left_out_in_silence(tmp_path):
    (tmp_path / "a.json").write_text(shape([[0, 0], [3, 0], [3, 3]]))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert recognised(tmp_path) == "labelme"
    Image.new("P", (4, 4)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="files of labelme and png; say format: labelme, png"):
        recognised(tmp_path)


def test_names_of_classes_txt_are_those_of_yolo_s_numbers(tmp_path):
    for place in ("classes.txt", "labels/classes.txt"):
        (folder := tmp_path / place.replace("/", "-")).mkdir()
        (folder / "labels").mkdir()
        (folder / "labels" / "a.txt").write_text(SHARES)
        (folder / place).write_text("\n".join(reversed(CLASSES[1:])))
        masks = tmp_path / f"{folder.name}-masks"
        bring(folder, "yolo", CLASSES, masks, lambda _: (4, 4))
        with Image.open(masks / "a.png") as mask:
            assert np.array(mask).max() == len(CLASSES) - 1


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("labelme", "a.json", "{", "not a file of labelme"),
        ("labelme", "a.json", '{"imageHeight": 1e9, "imageWidth": 1e9, "shapes": []}', "pixels"),
        (
            "labelme",
            "a.json",
            '{"imageHeight": 4, "imageWidth": 4, "shapes": [{"label": "ca", "points": []}]}',
            "no class 'ca'; did you mean 'cat'",
        ),
        ("cvat", "annotations.xml", "<a", "not XML"),
        ("cvat", "annotations.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "declares entities"),
        (
            "cvat",
            "annotations.xml",
            '<a><image name="i" width="4" height="4"><mask label="cat" rle="0, 99" left="0"'
            ' top="0" width="2" height="2"/>'
            "</image></a>",
            "does not fit its box",
        ),
        ("coco", "instances.json", "[]", "not COCO instances"),
        ("coco", "instances.json", region(bbox=[1, 1, 2, 2]), "'a.jpg': a region without an outline, e.g. a box alone"),
        ("coco", "instances.json", region(segmentation=[[]]), "'a.jpg': a region without an outline"),
        (
            "coco",
            "instances.json",
            region(segmentation=[[1, 1, 3, 3]]),
            "its outline has 2 points, a polygon has 3 or more",
        ),
        ("labelme", "a.json", shape([[1, 1], [3, 3]]), "an outline of 2 points; a polygon has 3 or more"),
        ("labelme", "a.json", shape([[1, 1], [3, 1], [3, float("nan")]]), "a polygon has 3 or more, of finite x and y"),
        ("png", "a.txt", "", "no annotated image"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, name, file, text, message):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / file).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        bring(tmp_path / "in", name, CLASSES, tmp_path / "masks")
    assert "\n" not in str(caught.value) and not (tmp_path / "masks").exists()


def test_open_labels_is_untouched_by_an_export(labels, tmp_path):
    file, maps = labels
    before = file.read_bytes()
    export(file, "cvat", tmp_path / "out")
    with open_labels(file) as store:
        assert set(store) == set(maps)
    assert file.read_bytes() == before


LABELME = {
    "type": "object",
    "required": ["version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "string", "pattern": r"^[45]\.\d+\.\d+$"},
        "flags": {"type": "object"},
        "imagePath": {"type": "string"},
        "imageData": {"type": ["string", "null"]},
        "imageHeight": {"type": "integer"},
        "imageWidth": {"type": "integer"},
        "shapes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["label", "points", "group_id", "shape_type", "flags", "description", "mask"],
                "additionalProperties": False,
                "properties": {
                    "label": {"type": "string"},
                    "points": {"type": "array", "minItems": 2, "maxItems": 2},
                    "shape_type": {"const": "mask"},
                    "group_id": {"type": ["integer", "null"]},
                    "mask": {"type": "string"},
                    "flags": {"type": "object"},
                    "description": {"type": ["string", "null"]},
                },
            },
        },
    },
}
"""What labelme reads of a file (label_file.py), and the keys that it keeps."""


def test_labelme_s_keys_and_the_way_to_the_photograph(labels, tmp_path):
    file, maps = labels
    export(file, "labelme", tmp_path / "out")
    for image_id in maps:
        content = json.loads((tmp_path / "out" / f"{image_id}.json").read_text())
        jsonschema.validate(content, LABELME)
    assert content["imagePath"] == "islands.jpg"


def test_a_run_s_photographs_and_marked_ids(labels, tmp_path, capsys):
    file, maps = labels
    run = tmp_path / "results" / "r"
    (run / "make_pseudo_labels").mkdir(parents=True)
    (run / "make_pseudo_labels" / "train.h5").write_bytes(file.read_bytes())
    rows = []
    for image_id, label in maps.items():
        image = tmp_path / f"{image_id}.bmp"
        image.parent.mkdir(exist_ok=True)
        Image.new("RGB", label.shape[::-1]).save(image)
        row = {"image_id": image_id, "image": str(image), "mask": "", "labels": "bus", "measured": "0"}
        rows.append(row | {"split": "train"})
    write_index(run / "prepare_data", "folder", CLASSES, voc_palette(), rows)
    marked = tmp_path / "marked.csv"
    marked.write_text("image_id,split\nday 1/a,train\nelsewhere,val\n")
    with pytest.raises(ValueError, match=r"masks: lies in .*, which is read"):
        export_command(Namespace(file=run, out=tmp_path / "day 1" / "masks"))
    assert export(run, "labelme", tmp_path / "labelme", marked) == 1
    assert "1 of 2 images are not in" in capsys.readouterr().err
    path = json.loads((tmp_path / "labelme/day 1/a.json").read_text())["imagePath"]
    with Image.open(tmp_path / "labelme/day 1" / path) as image:
        assert image.size == (17, 13)
    assert export(run, "coco", tmp_path / "coco", marked, images=True) == 1
    (listed,) = COCO(tmp_path / "coco" / "instances.json").loadImgs([1])
    assert listed["file_name"] == "day 1/a.bmp" and (tmp_path / "coco/images/day 1/a.bmp").is_file()
    marked.write_text("image_id\nnowhere\n")
    with pytest.raises(ValueError, match="none of its 1 images is in"):
        export(run, "png", tmp_path / "none", marked)
    with pytest.raises(ValueError, match="they would be taken for masks"):
        export(run, "png", tmp_path / "none", images=True)
    with pytest.raises(ValueError, match="no folder of a run"):
        export(file, "png", tmp_path / "none", images=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", READABLE)
def test_files_of_tools_are_decoded_alike(labels, tmp_path, name, encoding):
    file, maps = labels
    export(file, name, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix in (".json", ".xml", ".txt", ".yaml"):
            path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    sizes = {image_id: label.shape for image_id, label in maps.items()}
    assert recognised(tmp_path / "out") == name
    assert bring(tmp_path / "out", name, CLASSES, tmp_path / "masks", sizes.get) == 4
