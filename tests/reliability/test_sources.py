"""One path of checks for every source: the same text, names and sizes are read, or refused, in each of them."""

from __future__ import annotations

import codecs
import unicodedata

import pytest

from small_data import SIZE, WRITE, picture, table_of
from wsss.config.registry import SOURCES
from wsss.data.dataset import Dataset
from wsss.plan.run import missing_inputs, plan_runs

EVERY = pytest.mark.parametrize("source", WRITE)
CLASSES = ["Käfer", "dining table"]
ACCENTS = CLASSES[0].encode("cp1252")[1:2]


def test_every_source_of_files_is_here():
    assert set(WRITE) == set(SOURCES.modules) - {"shapes"}, "write one in tests/small_data.py"


def expected(classes=CLASSES, names="abcd"):
    splits = ["train"] * (len(names) - 1) + ["val"]
    return [(name, split, [classes[i % 2]]) for i, (name, split) in enumerate(zip(names, splits, strict=True))]


def accepted(stage, settings, out):
    done = stage("prepare_data", out, config=settings)
    assert done.code == 0, done.text
    return done


ENCODINGS = {
    "UTF-8": (lambda text: text.encode(), None),
    "UTF-8 with a mark": (lambda text: text.encode("utf-8-sig"), None),
    "UTF-16 with a mark": (lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"), None),
    "UTF-16 of the other order": (lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"), None),
    "UTF-16 without a mark": (lambda text: text.encode("utf-16-le"), None),
    "UTF-32 with a mark": (lambda text: text.encode("utf-32"), None),
    "Windows-1252": (lambda text: text.encode("cp1252"), "read as Windows-1252"),
    "lines of Windows": (lambda text: text.replace("\n", "\r\n").encode(), None),
    "lines of old Macs": (lambda text: text.replace("\n", "\r").encode(), None),
    "decomposed letters": (lambda text: unicodedata.normalize("NFD", text).encode(), None),
    "no end of the last line": (lambda text: text.rstrip("\n").encode(), None),
    "blank lines": (lambda text: ("\n" + text + "\n\n").encode(), None),
    "blanks at the ends of lines": (lambda text: text.replace("\n", " \t\n").encode(), None),
}


@EVERY
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_is_decoded_alike(stage, tmp_path, source, encoding):
    encode, remark = ENCODINGS[encoding]
    if source == "voc" and encoding == "blank lines":
        encode = lambda text: (text + "\n\n").encode()  # noqa: E731 (an XML declaration may have nothing before it)
    settings = WRITE[source](tmp_path / "data", CLASSES, lambda path, text: path.write_bytes(encode(text)))
    done = accepted(stage, settings, tmp_path / "out")
    assert table_of(tmp_path / "out") == expected()
    assert ("Windows-1252" in done.text) == (remark is not None)


BROKEN = {
    "a NUL byte": (lambda data: data[:5] + b"\0" + data[6:], "holds NUL bytes"),
    "two encodings": (lambda data: data.replace("ä".encode(), b"\xe4", 1) + "ü".encode(), "line .*: not UTF-8, as the"),
    "no known encoding": (lambda data: data.replace("ä".encode(), b"\x81\x8d"), "neither UTF-8 nor Windows-1252"),
    "half of UTF-16": (lambda data: codecs.BOM_UTF16_LE + data[:-1] * 2 + b"x", "not UTF-16"),
}


@EVERY
@pytest.mark.parametrize("damage", BROKEN)
def test_what_is_no_text_is_refused(stage, tmp_path, source, damage):
    spoil, message = BROKEN[damage]
    file = {"folder": "labels.csv", "voc": "classes.txt", "coco": "annotations/instances_val2014.json"}[source]

    def save(path, text):
        data = text.encode()
        path.write_bytes(spoil(data) if str(path).endswith(file) else data)

    settings = WRITE[source](tmp_path / "data", CLASSES, save)
    stage("prepare_data", tmp_path / "out", config=settings).assert_refused(rf"{file}.*{message}")


NAMES = {
    "invisible letters around": (["\u200bcat\ufeff", " \u2060dog"], ["cat", "dog"]),
    "blanks around and within": (["  cat ", "dining \u00a0  table"], ["cat", "dining table"]),
    "decomposed": ([unicodedata.normalize("NFD", "Käfer"), "Ñandú"], ["Käfer", "Ñandú"]),
    "signs": (["it's", 'a "b" {c} %s $d <e> & [f]'], ["it's", 'a "b" {c} %s $d <e> & [f]']),
    "as many as there may be": ([f"class {i}" for i in range(254)], [f"class {i}" for i in range(254)]),
    "words of YAML and numbers": (["on", "1e3"], ["on", "1e3"]),
    "other scripts": (["猫", "собака"], ["猫", "собака"]),
}


@EVERY
@pytest.mark.parametrize("case", NAMES)
def test_class_names_are_read_alike(stage, tmp_path, source, case):
    given, classes = NAMES[case]
    accepted(stage, WRITE[source](tmp_path / "data", given), tmp_path / "out")
    assert Dataset(tmp_path / "out").class_names == ["background", *classes]
    assert table_of(tmp_path / "out") == expected(classes)


STRANGE_NAMES = {
    "the background": (["cat", "Background"], "class 'Background'; the background is implied"),
    "labelme's background": (["cat", "_background_"], "class '_background_'; the background is implied"),
    "void": (["void", "cat"], "class 'void'; what counts as nothing has id 255"),
    "no value of pandas": (["cat", "NaN"], "class 'NaN'; where an image shows no class"),
    "another case": (["cat", "Cat"], "classes 'cat' and 'Cat' differ in case only"),
    "another width": (["cat", "ｃat"], "classes 'cat' and 'ｃat' look alike"),
    "an invisible letter": (["cat", "c\u200bat"], "classes 'cat' and 'c.at' look alike"),
    "another joiner": (["traffic_light", "traffic light"], "classes 'traffic.light' and 'traffic.light' look alike"),
    "another form of a number": (["1", "1.0"], "classes '1' and '1.0' look alike"),
    "a file's name": (["cat", "1.TXT"], "class '1.TXT' is the name of a file; names of classes are needed there"),
    "signs alone": (["cat", "-?-"], "class name '-.-'; a name has a letter or a digit"),
    "too many": ([f"class {i}" for i in range(255)], r"255 classes, e\.g\. class 0, .*accepted: 1 to 254"),
    "semicolon": (["cat", "a;b"], "class name 'a;b'; accepted are different names without ';'"),
    "control character": (["cat", "a\x07b"], r"class name 'a\\x07b'; accepted are"),
    "a sentence": (["cat", "a" * 201], "of 201 characters; accepted: 200"),
}


@EVERY
@pytest.mark.parametrize("case", STRANGE_NAMES)
def test_class_names_are_refused_alike(stage, tmp_path, source, case):
    given, message = STRANGE_NAMES[case]
    settings = WRITE[source](tmp_path / "data", given)
    stage("prepare_data", tmp_path / "out", config=settings).assert_refused(rf"(csv|txt|json): .*{message}")


@EVERY
@pytest.mark.parametrize(
    "names",
    [
        ["a.b", "a b", "ä", "d" * 251],
        ["sub/a", "other/a", "deep/er/a", "a"],
        ["a*", "a?", "[a]", "{a}"],
        ["$(a)", "`a`", "it's", "%s"],
        ["a", "A", "~a", "-a"],
        ["a.jpg", "a.tif", "c", "b"],
        ["B ", "B", " B", "  "],
    ],
)
def test_images_of_odd_names(stage, tmp_path, source, names):
    accepted(stage, WRITE[source](tmp_path / "data", CLASSES, names=names), tmp_path / "out")
    records = Dataset(tmp_path / "out").records
    assert len({r.image_id for r in records}) == 4 and all(r.image.is_file() for r in records)
    found = {r.image.name.removesuffix(".png"): Dataset(tmp_path / "out").class_names[r.classes[0]] for r in records}
    wanted = {name.rpartition("/")[2]: CLASSES[i % 2] for i, name in enumerate(names)}
    assert found == wanted or names[0] == "sub/a"


@EVERY
def test_small_images_are_refused_alike(stage, tmp_path, source):
    settings = WRITE[source](tmp_path / "data", CLASSES)
    path = next((tmp_path / "data").rglob("b.png"))
    picture(1, (8, SIZE[1])).save(path)
    refused = stage("prepare_data", tmp_path / "out", config=settings)
    refused.assert_refused(r"b\.png: 32×8 px; both edges must have 16 px or more")


@EVERY
def test_images_are_found_through_links(stage, tmp_path, source):
    settings = WRITE[source](tmp_path / "real", CLASSES)
    plain = accepted(stage, settings, tmp_path / "out") and table_of(tmp_path / "out")
    key = "images" if source == "folder" else "root"
    (tmp_path / "link").symlink_to(settings[key], target_is_directory=True)
    image = next((tmp_path / "real").rglob("a.png"))
    folder = image.parent.rename(tmp_path / "elsewhere")
    image.parent.symlink_to(folder, target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    accepted(stage, settings | {key: str(tmp_path / "link")}, tmp_path / "out2")
    assert table_of(tmp_path / "out2") == plain


NAMED = {
    "folder": ["images", "labels", "masks"],
    "voc": ["root", "labels", "train_list", "val_list"],
    "coco": ["root", "train_part", "val_part", "val_list"],
}


@pytest.mark.parametrize(("source", "key"), [(source, key) for source, keys in NAMED.items() for key in keys])
def test_what_is_not_there_is_told_before_anything_runs(tmp_path, source, key):
    settings = WRITE[source](tmp_path / "data", CLASSES)
    run = {"preset": "shapes", "upper_bound": False, "choose_threshold": "auto"}
    told = [
        missing_inputs(plan_runs({"runs": {"tiny": run | {"prepare_data": settings | change}}})["tiny"])
        for change in ({}, {key: "nowhere"})
    ]
    assert told[0] is None and told[1].startswith(f"runs.tiny.prepare_data.{key}: ") and "nowhere" in told[1]
