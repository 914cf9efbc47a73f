"""Spreadsheets of labels: the shapes that people have, and one clear line for the rest."""

from __future__ import annotations

import pytest

from wsss.data.labels_csv import read_labels

CAT_DOG = [("a.jpg", {"cat", "dog"}), ("b.jpg", {"cat"})]
DOG_CAT = [("a.jpg", {"dog"}), ("b.jpg", {"cat"})]
TABLE = [("a.jpg", {"dining table", "cat"}), ("b.jpg", {"cat"})]


def read(tmp_path, data):
    path = tmp_path / "labels.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_labels(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,labels\na.jpg,cat dog\nb.jpg,cat\n", CAT_DOG),
        ("image,labels\na.jpg,cat,dog\nb.jpg,cat\n", CAT_DOG),
        ('image,labels\na.jpg,"cat, dog"\nb.jpg,cat\n', CAT_DOG),
        ("image,labels\na.jpg,cat;dog\nb.jpg,cat\n", CAT_DOG),
        ("image;labels\na.jpg;cat,dog\nb.jpg;cat\n", CAT_DOG),
        ("image\tlabels\na.jpg\tcat dog\nb.jpg\tcat\n", CAT_DOG),
        ("sep=;\nimage;labels\na.jpg;cat dog\nb.jpg;cat\n", CAT_DOG),
        ("\ufeffimage,labels\r\na.jpg,cat dog\r\n\r\nb.jpg,cat\r\n,\r\n", CAT_DOG),
        ("labels,file\ncat dog,a.jpg\ncat,b.jpg\n", CAT_DOG),
        ("photo,animals\na.jpg,cat|dog\nb.jpg,cat\n", CAT_DOG),
        ("image,cat,dog\na.jpg,1,1\nb.jpg,1,0\n", CAT_DOG),
        ("image;cat;dog;;\na.jpg;x;x;;\nb.jpg;x;;;\n", CAT_DOG),
        ("image,cat,dog\na.jpg,yes,TRUE\nb.jpg,1.0\n", CAT_DOG),
        ("image,labels\na.jpg,dining table;cat\nb.jpg,cat\n", TABLE),
        ("image,dining table,cat\na.jpg,1,1\nb.jpg,0,1\n", TABLE),
        ("image,labels\na.jpg,Käse\nb.jpg,\n", [("a.jpg", {"Käse"}), ("b.jpg", set())]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_shapes_of_tables(tmp_path, text, expected, encoding):
    table = read(tmp_path, text.lstrip("\ufeff").encode("utf-16") if encoding == "utf-16" else text.encode())
    assert [(row.image, set(row.names)) for row in table.rows] == expected


def test_classes_keep_the_columns_order_or_the_alphabet(tmp_path):
    assert read(tmp_path, "image,zebra,ant\na,1,0\n").classes == ["zebra", "ant"]
    assert read(tmp_path, "image,labels\na,zebra ant\n").classes == ["ant", "zebra"]


def test_a_split_column_is_no_class(tmp_path):
    table = read(tmp_path, "image,split,cat\na,train,1\nb,Val,1\nc,,0\n")
    assert table.classes == ["cat"] and [row.split for row in table.rows] == ["train", "val", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows below a header; accepted: columns image,labels"),
        ("image,labels\n", "no rows below a header"),
        ("image\na.jpg\n", "the header has no column of labels; found image"),
        ("image,cat,cat\na,1,1\n", "names a column twice: cat"),
        ("image,cat,dog\na,1,2\n", r"line 2: '2' in column 'dog'; accepted: 0 or 1"),
        ("image,labels\n,cat\n", "line 2: the row names no image"),
        ("image,labels,split\na,cat,test\n", "line 2: split 'test'; accepted: train, val"),
        ("image,labels\na,cat dog\nb,cat\nc,dog;cat\n", "line 2: 'cat dog' may be one class or 2"),
        ("image,labels\na,Cat\nb,cat\n", "classes 'Cat' and 'cat' differ in case only"),
        ("image,labels\na,background\n", "class 'background'; the background is implied"),
        ("image,labels\na,\n", "no row names a class"),
        ("image,labels,split\na,cat,dog,train\n", "line 2: 4 cells for 3 columns; quote"),
        ('image,labels\na,"cat\n', "line 2: not a CSV row"),
        ("image," + ",".join(map(str, range(2, 300))) + "\na,1\n", "298 classes, e.g. 2, 3, 4; accepted: 1 to 254"),
        ("image,labels\nä,Kä\n".encode() + b"b,\xe4\n", "line 3: not UTF-8, as the rest of the file is; save it"),
    ],
)
def test_other_tables_get_one_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text)
    assert "labels.csv" in str(caught.value) and "\n" not in str(caught.value)


LISTS = "image,labels\na.jpg,\"['cat', 'dog']\"\nb.jpg,['cat']\n"
FORMS = {
    "pandas: lists": (LISTS, CAT_DOG, ""),
    "pandas: lists and an index": (
        ",image,labels\n0,a.jpg,\"['cat', 'dog']\"\n1,b.jpg,['cat']\n",
        CAT_DOG,
        "'' number",
    ),
    "pandas: shuffled index": (",image,labels\n17,a.jpg,cat dog\n3,b.jpg,cat\n", CAT_DOG, "'' number the rows"),
    "pandas: read twice": (
        "Unnamed: 0,image,labels\n0,a.jpg,cat dog\n1,b.jpg,cat\n",
        CAT_DOG,
        "'Unnamed: 0'",
    ),
    "pandas: images as the index": (",cat,dog\na.jpg,1,1\nb.jpg,1,0\n", CAT_DOG, ""),
    "pandas: numbers as images": (",cat,dog\n7,1,1\n9,1,0\n", [("7", {"cat", "dog"}), ("9", {"cat"})], ""),
    "pandas: true and false": ("image,cat,dog\na.jpg,True,True\nb.jpg,True,False\n", CAT_DOG, ""),
    "pandas: floats": ("image,cat,dog\na.jpg,1.0,1.0\nb.jpg,1.0,0.0\n", CAT_DOG, ""),
    "pandas: tuples": ("image,labels\na.jpg,\"('cat', 'dog')\"\nb.jpg,\"('cat',)\"\n", CAT_DOG, ""),
    "pandas: sets": ("image,labels\na.jpg,\"{'cat', 'dog'}\"\nb.jpg,{'cat'}\n", CAT_DOG, ""),
    "numpy: arrays": ("image,labels\na.jpg,['cat' 'dog']\nb.jpg,['cat']\n", CAT_DOG, ""),
    "JSON: lists": ('image,labels\na.jpg,"[""cat"", ""dog""]"\nb.jpg,"[""cat""]"\n', CAT_DOG, ""),
    "lists without quotes": ('image,labels\na.jpg,"[cat, dog]"\nb.jpg,[cat]\n', CAT_DOG, ""),
    "lists that overflow their cell": ("image,labels\na.jpg,['cat', 'dog']\nb.jpg,['cat']\n", CAT_DOG, ""),
    "JSON: letters as numbers": (
        'image,labels\na.jpg,"[""K\\u00e4fer"", ""\\ud83d\\udc31""]"\n',
        [("a.jpg", {"Käfer", "🐱"})],
        "",
    ),
    "Python: letters as numbers": ("image,labels\na.jpg,['K\\xe4fer']\n", [("a.jpg", {"Käfer"})], ""),
    "lists beside names": ("image,labels\na.jpg,\"['dining table', 'cat']\"\nb.jpg,cat\n", TABLE, ""),
    "line ends within a cell": ('image,labels\na.jpg,"cat\r\ndining table"\nb.jpg,cat\n', TABLE, ""),
    "quotation marks around names": ("image,labels\na.jpg,\"'cat', 'dog'\"\nb.jpg,“cat”\n", CAT_DOG, ""),
    "Label Studio": ("image,choice,annotator\na.jpg,cat;dog,1\nb.jpg,cat,1\n", CAT_DOG, "'annotator' are not used"),
    "an empty list": ("image,labels\na.jpg,['cat']\nb.jpg,[]\n", [("a.jpg", {"cat"}), ("b.jpg", set())], ""),
    "names with quotes in lists": ('image,labels\na.jpg,"[""it\'s"", \'a, b\']"\n', [("a.jpg", {"it's", "a, b"})], ""),
    "one row a label": ("image,label\na.jpg,cat\na.jpg,dog\nb.jpg,cat\n", CAT_DOG, "1 image(s) have several rows"),
    "one row a label, apart": ("image,label\na.jpg,dog\nb.jpg,cat\na.jpg,cat\n", CAT_DOG, "1 image(s) have several"),
    "one row a box": (
        "image,label,x,y\na.jpg,cat,1,2\na.jpg,dog,3,4\nb.jpg,cat,5,6\n",
        CAT_DOG,
        "'x', 'y' are not",
    ),
    "one row a box, names with blanks": (
        "filename,width,class\na.jpg,3,dining table\nb.jpg,3,cat\na.jpg,3,cat\n",
        TABLE,
        "'width' are not used",
    ),
    "the same row twice": ("image,labels\na.jpg,cat dog\nb.jpg,cat\nb.jpg,cat\n", [*CAT_DOG, CAT_DOG[1]], ""),
    "free text": ("image,labels,notes\na.jpg,cat dog,nice one\nb.jpg,cat,\n", CAT_DOG, "'notes' are not used"),
    "free text beside flags": ("image,cat,dog,notes\na.jpg,1,1,nice\nb.jpg,1,0,\n", CAT_DOG, "'notes' are not used"),
    "a count beside names": ("id,image,labels\n1,a.jpg,cat dog\n2,b.jpg,cat\n", CAT_DOG, "'id' number the rows"),
    "a class like a column": (
        "image,class,dog\na,1,1\nb,1,0\n",
        [("a", {"class", "dog"}), ("b", {"class"})],
        "",
    ),
    "Excel: semicolons": ("image;cat;dog\r\na.jpg;1;1\r\nb.jpg;1;0\r\n", CAT_DOG, ""),
    "Excel: WAHR and FALSCH": ('"sep=;"\r\nimage;cat;dog\r\na.jpg;WAHR;WAHR\r\nb.jpg;WAHR;FALSCH\r\n', CAT_DOG, ""),
    "Excel: empty columns": ("image,,labels,\na.jpg,,cat dog,\nb.jpg,,cat,\n", CAT_DOG, ""),
    "Excel: quoted header": ('"image";"labels"\n"a.jpg";"cat, dog"\n"b.jpg";"cat"\n', CAT_DOG, ""),
    "blanks before quotes": ('image, labels\na.jpg, "cat, dog"\nb.jpg, "cat"\n', CAT_DOG, ""),
    "upper case": ("IMAGE,LABELS\na.jpg,cat dog\nb.jpg,cat\n", CAT_DOG, ""),
    "Open Images": (
        "ImageID,Source,LabelName,Confidence\na.jpg,v,cat,1\na.jpg,v,dog,1\nb.jpg,v,cat,1\n",
        CAT_DOG,
        "Source",
    ),
    "names of columns in words": (
        "Width,Image Name,Class-Label\n3,a.jpg,cat dog\n4,b.jpg,cat\n",
        CAT_DOG,
        "'Width' are not",
    ),
    "two columns of images": (
        "image_id,file_name,labels\n10,a.jpg,cat dog\n11,b.jpg,cat\n",
        CAT_DOG,
        "'image_id' number",
    ),
    "ChestX-ray14": (
        "Image Index,Finding Labels,Follow-up #,Patient Age\na.jpg,cat|dog,0,58\nb.jpg,cat,1,60\n",
        CAT_DOG,
        "'Follow-up #', 'Patient Age' are not used",
    ),
    "flags beside a text like labels": (
        "image,cat,dog,age class\na.jpg,1,1,old\nb.jpg,1,0,new\n",
        CAT_DOG,
        "'age class' are not used",
    ),
    "numbers and names of classes": (
        "image,label,label_name\na.jpg,0,dog\nb.jpg,1,cat\n",
        DOG_CAT,
        "'label' are not used",
    ),
    "numbers of classes and text": (
        "image,label,notes\na.jpg,0,nice\nb.jpg,1,poor\n",
        [("a.jpg", {"0"}), ("b.jpg", {"1"})],
        "'notes' are not used",
    ),
    "bars": ("image|labels\na.jpg|cat,dog\nb.jpg|cat\n", CAT_DOG, ""),
    "a name of several words": (
        "image,label\na.jpg,dining table\nb.jpg,cat\n",
        [("a.jpg", {"dining", "table"}), ("b.jpg", {"cat"})],
        "'dining table' is 2 classes; where a name has spaces, end it with a semicolon: 'dining table;'",
    ),
    "a name of several words, ended": (
        "image,label\na.jpg,dining table;\nb.jpg,cat;\n",
        [("a.jpg", {"dining table"}), ("b.jpg", {"cat"})],
        "",
    ),
    "floats as classes": (
        "image,label\na.jpg,0.0\nb.jpg,2.0\n",
        [("a.jpg", {"0.0"}), ("b.jpg", {"2.0"})],
        "",
    ),
    "numpy: repr": (
        "image,labels\na.jpg,\"array(['cat', 'dog'], dtype=object)\"\nb.jpg,array(['cat'])\n",
        CAT_DOG,
        "",
    ),
    "pandas: repr": (
        "image,labels\na.jpg,\"Index(['cat', 'dog'], dtype='object')\"\nb.jpg,\"Index(['cat'], dtype='object')\"\n",
        CAT_DOG,
        "",
    ),
    "commas of other keyboards": ("image,labels\na.jpg,cat、dog\nb.jpg,cat\n", CAT_DOG, ""),
    "flags as classes": (
        "image,label\na.jpg,yes\nb.jpg,no\n",
        [("a.jpg", {"yes"}), ("b.jpg", {"no"})],
        "its classes are no, yes; to say whether an image shows a class, name the column like it",
    ),
    "numbers as classes": (
        "image,label\na.jpg,0\nb.jpg,2\n",
        [("a.jpg", {"0"}), ("b.jpg", {"2"})],
        "",
    ),
    "0 and 1 as classes": (
        "image,label\na.jpg,1\nb.jpg,0\n",
        [("a.jpg", {"1"}), ("b.jpg", {"0"})],
        "its classes are 0, 1; to say whether an image shows a class, name the column like it",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_people_have(tmp_path, form):
    text, expected, remark = FORMS[form]
    table = read(tmp_path, text)
    assert [(row.image, set(row.names)) for row in table.rows] == expected
    assert remark in " ".join(table.remarks) and bool(remark) == bool(table.remarks)


def test_the_plain_csv_of_excel_is_remarked(tmp_path):
    table = read(tmp_path, "image;labels\r\na.jpg;Käse\r\n".encode("cp1252"))
    assert table.rows[0].names == {"Käse"}
    assert "line 2: not UTF-8; read as Windows-1252: 'a.jpg;Käse'" in table.remarks[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,cat\nb.jpg,dog\n", "line 1: names an image where column names are needed; accepted: columns image"),
        ("image,cat,dog\na,1,0,1\n", "line 2: 4 cells for 3 columns"),
        ("image,cat,notes\na,1,nice\nb,0,0\n", "line 2: 'nice' in column 'notes'; accepted: 0 or 1"),
        ("image,animal,plant\na,cat,oak\n", "line 2: 'cat' in column 'animal'; accepted: 0 or 1"),
        ("image,,labels\na,x,cat\n", "the header names a column with nothing"),
        ("image,labels\na,nan\n", "class 'nan'; where an image shows no class, leave the cell empty"),
        ("image,labels\na,cat\nb,-\n", "class name '-'; a name has a letter or a digit; where an image shows no class"),
        ("image,labels\na,cat & dog\nb,cat\n", "class name '&'; a name has a letter"),
        ("image,labels\na,cat/dog\nb,cat\nc,dog\n", "line 2: 'cat/dog' may be one class or 2; separate the names by"),
        ("image,labels\na,cat+dog\nb,cat\nc,dog\n", "line 2: 'cat.dog' may be one class or 2"),
        (
            'image,labels\na,"[1, 0]"\nb,"[0, 1]"\n',
            "its cells hold 2 times 0 or 1, for classes without names; accepted",
        ),
        ("image,labels\na,[1. 0. 0.]\nb,[0. 1. 1.]\n", "its cells hold 3 times 0 or 1, for classes without"),
        ('image,labels\na,"{""cat"": 1, ""dog"": 0}"\n', "its cells hold mappings; accepted: columns image,labels"),
        ("image,labels\na,1 0\nb,0 1\n", "its cells hold 2 times 0 or 1"),
        ("image,labels\na,100\nb,010\nc,\n", "its cells hold rows of 0 and 1, for classes without names"),
        ('image,labels\na,"[{""name"": ""cat""}]"\n', "its cells hold mappings"),
        ("image,labels\na,猫\nb,狗\nc,猫・狗\n", "line 4: '猫・狗' may be one class or 2"),
        ("image,label,Present\na,cat,1\na,dog,0\n", "line 3: present 0, so that the image lacks the class"),
        ("image,label,exists\na,cat,True\na,dog,False\n", "line 3: exists False, so that the image lacks"),
        ("image,mask\na,a.png\nb,b.png\n", "class 'a.png' is the name of a file; names of classes are needed"),
        ("image,labels\n1,1.jpg,cat\n2,2.jpg,dog\n", "class '1.jpg' is the name of a file"),
        ("image,label\na,cat dog\na,cat\nb,dog\n", "line 2: 'cat dog' may be one class or 2"),
        ("ImageID,LabelName,Confidence\na,cat,1\na,dog,0\n", "line 3: confidence 0, so that the image lacks the class"),
    ],
)
def test_other_forms_get_one_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


SPLIT = {
    "split": ("split", "train", "Val", ""),
    "words": ("split", "training", "validation", ""),
    "fastai's name": ("Split", "train", "valid", ""),
    "another name": ("subset", "train", "val", "column 'subset' divides the images"),
    "fastai's flags": ("is_valid", "False", "True", "column 'is_valid' divides the images"),
    "flags": ("is_val", "0", "1", "column 'is_val' divides the images"),
    "flags of training": ("is_train", "1", "0", "column 'is_train' divides the images"),
}


@pytest.mark.parametrize("table", ["image,labels,{}\na,cat,{}\nb,dog,{}\n", "image,{},cat,dog\na,{},1,0\nb,{},0,1\n"])
@pytest.mark.parametrize("form", SPLIT)
def test_a_column_divides_the_images(tmp_path, form, table):
    *cells, remark = SPLIT[form]
    found = read(tmp_path, table.format(*cells))
    assert [(row.split, *row.names) for row in found.rows] == [("train", "cat"), ("val", "dog")]
    assert remark in " ".join(found.remarks) and bool(remark) == bool(found.remarks)


@pytest.mark.parametrize(
    "name", ["fold", "test", "train", "difficult", "patient_id", "is_checked", "Val", "confidence", "total"]
)
def test_a_column_of_flags_that_may_be_no_class_is_remarked(tmp_path, name):
    found = read(tmp_path, f"image,cat,dog,{name}\na,1,0,0\nb,0,1,1\n")
    assert f"column(s) '{name}' are taken for classes" in " ".join(found.remarks)
    assert not read(tmp_path, "image,is_cat,has_dog\na,1,0\nb,0,1\n").remarks


def test_a_class_called_train_is_no_split(tmp_path):
    table = read(tmp_path, "image,labels\na,train\nb,val\n")
    assert table.classes == ["train", "val"] and [row.split for row in table.rows] == ["", ""]
