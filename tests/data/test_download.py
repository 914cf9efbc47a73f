"""Downloads against a server on this machine that cuts, lies and sends the wrong file; VOC + SBD in miniature."""

from __future__ import annotations

import hashlib
import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from servers import serving
from wsss.data import download
from wsss.data.download import Archive, DownloadError, extract, fetch
from wsss.data.sources.voc.download import Archives, get_voc

CONTENT = np.random.default_rng(0).integers(0, 256, 50_000, np.uint8).tobytes()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(download, "TIMEOUT", 5.0)
    with serving({"/a.tar": CONTENT}) as made:
        yield made


@pytest.mark.parametrize("behaviour", ["honest", "cuts", "busy first", "no ranges", "says nothing", "says too little"])
def test_the_file_arrives_whole(server, tmp_path, behaviour):
    server.behaviour = behaviour
    if behaviour == "says too little":  # then the checksum tells, and the next address serves
        server.files["/good/a.tar"] = CONTENT
        with pytest.raises(DownloadError, match=f"MD5 .*, published is {MD5}"):
            fetch(Archive(f"{server.url}/a.tar", MD5), tmp_path)
        return
    path = fetch(Archive(f"{server.url}/a.tar", MD5), tmp_path)
    assert path.read_bytes() == CONTENT and [p.name for p in tmp_path.iterdir()] == ["a.tar"]
    if behaviour == "cuts":
        assert [r for _, r in server.requests][:2] == [None, f"bytes={len(CONTENT) // 3}-"], "resumed, not restarted"


def test_a_length_that_never_comes_ends_in_one_line(server, tmp_path):
    server.behaviour = "says too much"
    path = fetch(Archive(f"{server.url}/a.tar", MD5), tmp_path)
    assert path.read_bytes() == CONTENT, "all bytes came; the checksum says so, whatever the server promised"


def test_a_half_from_an_earlier_day_is_continued(server, tmp_path):
    (tmp_path / "a.tar.part").write_bytes(CONTENT[:20_000])
    fetch(Archive(f"{server.url}/a.tar", MD5), tmp_path)
    assert server.requests == [("/a.tar", "bytes=20000-")]


def test_what_is_there_is_not_fetched_again_unless_it_is_wrong(server, tmp_path):
    (tmp_path / "a.tar").write_bytes(CONTENT)
    fetch(Archive(f"{server.url}/a.tar", MD5), tmp_path)
    assert server.requests == []
    (tmp_path / "a.tar").write_bytes(b"something else")
    assert fetch(Archive(f"{server.url}/a.tar", MD5), tmp_path).read_bytes() == CONTENT


def test_mirrors_come_first_and_each_failure_is_named(server, tmp_path):
    server.files["/mirror/a.tar"] = b"x" * 100
    archive = Archive(f"{server.url}/a.tar", MD5)
    path = fetch(archive, tmp_path, [f"{server.url}/none/", f"{server.url}/mirror"])
    assert [p for p, _ in server.requests] == ["/none/a.tar", "/mirror/a.tar", "/a.tar"]
    path.unlink()
    del server.files["/a.tar"]
    with pytest.raises(DownloadError, match=r"cannot download a\.tar: .*404.*MD5 .*404") as caught:
        fetch(archive, tmp_path, [f"{server.url}/none", f"{server.url}/mirror"])
    assert "\n" not in str(caught.value)


def test_no_server_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with pytest.raises(DownloadError, match="refused"):
        fetch(Archive("http://127.0.0.1:9/a.tar", MD5), tmp_path)


def tar(members, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tar({"../outside": b"x"}), "refused to unpack"),
        (tar({"link": "/etc/passwd"}), "refused to unpack"),
        (tar({"a": b"x" * 5000})[:1500], "cannot be unpacked"),
        (b"not a tar file", "cannot be unpacked"),
    ],
)
def test_bad_archives_leave_nothing(tmp_path, data, message):
    (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(ValueError, match=rf"bad\.tar: {message}"):
        extract(tmp_path / "bad.tar", tmp_path / "deep" / "out")
    assert not (tmp_path / "outside").exists() and not (tmp_path / "deep" / "outside").exists()
    assert list((tmp_path / "deep").iterdir()) == []


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(np.resize(np.array(values, np.uint8), (16, 20))).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def published(server):
    """VOC with images a (train), b (val), c and d (SBD only), and SBD with b, c, d."""
    jpeg = io.BytesIO()
    Image.new("RGB", (20, 16)).save(jpeg, "JPEG")
    voc = {f"VOCdevkit/VOC2012/JPEGImages/{i}.jpg": jpeg.getvalue() for i in "abcd"}
    voc |= {
        f"VOCdevkit/VOC2012/Annotations/{i}.xml": b"<annotation><object><name>cat</name></object></annotation>"
        for i in "abcd"
    }
    voc |= {f"VOCdevkit/VOC2012/SegmentationClass/{i}.png": png([0, 8, 255]) for i in "ab"}
    voc |= {
        f"VOCdevkit/VOC2012/ImageSets/Segmentation/{n}.txt": f"{i}\n".encode()
        for n, i in [("train", "a"), ("val", "b")]
    }
    sbd = {"benchmark_RELEASE/dataset/train.txt": b"b\nc\n", "benchmark_RELEASE/dataset/val.txt": b"d\n"}
    for name in "bcd":
        buffer = io.BytesIO()
        savemat(buffer, {"GTcls": {"Segmentation": np.full((16, 20), 8, np.uint8)}})
        sbd[f"benchmark_RELEASE/dataset/cls/{name}.mat"] = buffer.getvalue()
        sbd[f"benchmark_RELEASE/dataset/img/{name}.jpg"] = b"not needed"
    server.files = {"/voc.tar": tar(voc), "/sbd.tgz": tar(sbd, "w:gz")}
    archives = [Archive(server.url + n, hashlib.md5(c).hexdigest()) for n, c in server.files.items()]
    return Archives(*archives, {"train": 1, "val": 1, "trainaug": 3})


def test_voc_and_sbd_become_trainaug(server, published, tmp_path):
    from wsss.data.dataset import read_mask
    from wsss.data.sources.voc.index import voc_index

    root = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    get_voc(root, [], published=published)
    _, _, rows = voc_index(root, train_list="trainaug", val_list="val", labels="annotations", measure_list="train")
    assert [(r["image_id"], r["split"], r["measured"]) for r in rows] == [
        ("a", "train", "1"),
        ("c", "train", "0"),
        ("d", "train", "0"),
        ("b", "val", "1"),
    ]
    assert (read_mask(root / "SegmentationClassAug" / "c.png") == 8).all()
    assert not (root / "SegmentationClassAug" / "b.png").exists(), "VOC's val keeps its own masks"
    requests = len(server.requests)
    get_voc(root, [], published=published)
    assert len(server.requests) == requests, "nothing to do the second time"


def test_wrong_counts_are_refused(published, tmp_path):
    wrong = Archives(published.voc, published.sbd, {"train": 1464, "val": 1, "trainaug": 3})
    with pytest.raises(ValueError, match=r"train\.txt: 1 images, but VOC 2012's list 'train' has 1464"):
        get_voc(tmp_path / "VOC2012", [], published=wrong)
    short = Archives(published.voc, published.sbd, {"train": 1, "val": 1, "trainaug": 10582})
    with pytest.raises(ValueError, match="trainaug would have 3 images, published are 10582"):
        get_voc(tmp_path / "VOC2012", [], published=short)


def test_the_published_addresses_are_torchvisions():
    from torchvision.datasets import SBDataset
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    voc, sbd = Archives().voc, Archives().sbd
    assert (voc.url, voc.digest) == (DATASET_YEAR_DICT["2012"]["url"], DATASET_YEAR_DICT["2012"]["md5"])
    assert (sbd.url, sbd.digest) == (SBDataset.url, SBDataset.md5)
    assert dict(Archives().counts) == {"train": 1464, "val": 1449, "test": 1456, "trainaug": 10582}
