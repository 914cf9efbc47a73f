import multiprocessing
import os
import pickle
import signal

import h5py
import numpy as np
import pytest

from wsss.store.hdf5 import CHUNK, fletcher32
from wsss.store.maps import open_labels, open_scores
from wsss.store.merging import merge
from wsss.store.writers import LabelWriter, ScoreWriter

NAMES = ("background", "cat", "dog")
PALETTE = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
IDS = ["2007_000032", "a/b", "a/../b", "../../etc/x", "Über/猫 1", ".", "", "a" * 5000] + [f"i{i}" for i in range(40)]


def labels_of(seed, ids=IDS):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 60, (len(ids), 2))
    return {i: rng.choice([0, 1, 2, 255], s).astype(np.uint8) for i, s in zip(ids, sizes, strict=True)}


def scores_of(seed, ids=IDS):
    rng = np.random.default_rng(seed)
    out = {}
    for image_id in ids:
        classes = rng.permutation(3)[: rng.integers(0, 4)]
        h, w = rng.integers(1, 50, 2)
        ramp = np.linspace(0, 1, h)[:, None] * np.cos(np.arange(w) / 9)[None] + 0.05 * rng.random((h, w))
        out[image_id] = classes, np.stack([ramp, ramp[::-1], 1.3 * ramp - 0.2])[classes].astype(np.float32)
    return out


def write_labels(path, labels, **kwargs):
    with LabelWriter(path, class_names=NAMES, palette=PALETTE, attributes={"split": "train"}, **kwargs) as out:
        for image_id, label in labels.items():
            out.add(image_id, label)
    return path


def write_scores(path, scores):
    with ScoreWriter(path, class_names=NAMES) as out:
        for image_id, (classes, values) in scores.items():
            out.add(image_id, classes, values)
    return path


def test_labels_come_back_under_any_id(tmp_path):
    labels = labels_of(0)
    with open_labels(write_labels(tmp_path / "x.h5", labels)) as store:
        assert list(store) == list(labels) and len(store) == len(labels)
        assert store.class_names == NAMES and store.attributes == {"split": "train"}
        np.testing.assert_array_equal(store.palette, PALETTE)
        for image_id in reversed(labels):
            np.testing.assert_array_equal(store[image_id], labels[image_id])
            assert store[image_id].dtype == np.uint8 and image_id in store
        assert "b" not in store and 3 not in store
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]


def test_plain_h5py_reads_the_maps(tmp_path):
    labels, scores = labels_of(1), scores_of(1)
    with h5py.File(write_labels(tmp_path / "x.h5", labels)) as f:
        row = f["ids"].asstr()[:].tolist().index("a/../b")
        k, h, w = f["shapes"][row]
        label = f["pixels"][f["offsets"][row] :][: k * h * w].reshape(h, w)
    np.testing.assert_array_equal(label, labels["a/../b"])
    with h5py.File(write_scores(tmp_path / "y.h5", scores)) as f:
        row = f["ids"].asstr()[:].tolist().index("i7")
        k, h, w = f["shapes"][row]
        levels = f["pixels"][f["offsets"][row] :][: k * h * w].reshape(k, h, w)
        np.testing.assert_array_equal(f["classes"][slice(*f["class_offsets"][row : row + 2])], scores["i7"][0])
    np.testing.assert_allclose(levels / 255, scores["i7"][1].clip(0, 1), atol=1 / 510 + 1e-6)


def test_scores_come_back_within_half_a_level(tmp_path):
    scores = scores_of(2)
    store = open_scores(write_scores(tmp_path / "x.h5", scores))
    for image_id, (classes, values) in scores.items():
        got = store[image_id]
        np.testing.assert_array_equal(got.classes, classes)
        assert got.scores.dtype == np.float32 and got.scores.shape == values.shape
        assert np.abs(got.scores - values.clip(0, 1)).max(initial=0) <= 1 / 510 + 1e-6
        assert not len(classes) or 0 <= got.scores.min() <= got.scores.max() <= 1


@pytest.mark.parametrize("content", ["zeros", "ones", "noise", "short"])
def test_checksums_are_those_of_hdf5(tmp_path, content):
    rng = np.random.default_rng(0)
    data = {"zeros": np.zeros(CHUNK), "ones": np.full(CHUNK, 255), "noise": rng.integers(0, 256, CHUNK)}
    chunk = data.get(content, np.r_[rng.integers(0, 256, 1001), np.zeros(CHUNK - 1001)]).astype(np.uint8)
    with h5py.File(tmp_path / "x", "w") as f:
        stored = f.create_dataset("x", data=chunk, chunks=(CHUNK,), fletcher32=True)
        raw = bytes(stored.id.read_direct_chunk((0,))[1])
    assert fletcher32(chunk.tobytes()).to_bytes(4, "little") == raw[CHUNK:]


def test_smooth_maps_take_a_tenth_of_float32(tmp_path):
    y, x = np.mgrid[:375, :500] / 60
    maps = np.stack([np.sin(x) * np.cos(y), np.cos(x + y)]).clip(0).astype(np.float32)
    path = write_scores(tmp_path / "x", {str(i): (np.array([1, 2]), maps) for i in range(4)})
    assert path.stat().st_size <= 4 * maps.nbytes / 10


@pytest.mark.parametrize("kind", ["labels", "scores"])
@pytest.mark.parametrize("shards", [1, 3, 8])
def test_sharding_leaves_no_trace(tmp_path, kind, shards):
    write, data = (write_labels, labels_of(3)) if kind == "labels" else (write_scores, scores_of(3))
    whole = write(tmp_path / "whole", data)
    order = list(data)
    by_shard = [order[s::shards][::-1] for s in range(shards)]
    paths = [write(tmp_path / str(s), {i: data[i] for i in ids}) for s, ids in enumerate(by_shard)]
    merge(paths[::-1], tmp_path / "merged", order)
    assert (tmp_path / "merged").read_bytes() == whole.read_bytes()


def test_records_longer_than_a_chunk(tmp_path):
    rng = np.random.default_rng(4)
    labels = {str(i): rng.integers(0, 3, (300 + i, 1000)).astype(np.uint8) for i in range(5)}
    path = write_labels(tmp_path / "a", labels)
    halves = [write_labels(tmp_path / str(s), {i: labels[i] for i in "01234"[s::2]}) for s in (0, 1)]
    merge(halves, tmp_path / "b", list("01234"))
    assert (tmp_path / "b").read_bytes() == path.read_bytes()
    store = open_labels(path)
    assert all(np.array_equal(store[i], labels[i]) for i in labels)


def test_merge_refuses_what_does_not_fit(tmp_path):
    a = write_labels(tmp_path / "a", labels_of(5, ["x", "y"]))
    b = write_labels(tmp_path / "b", labels_of(5, ["y", "z"]))
    c = write_scores(tmp_path / "c", scores_of(5, ["z"]))
    for paths, order, message in [
        ([a], ["x", "y", "q"], "1 images in no shard, first 'q'"),
        ([a], ["x"], "not in the order, first 'y'"),
        ([a, b], ["x", "y", "z"], "both in"),
        ([a, c], ["x", "y", "z"], "differ in kind"),
        ([], [], "at least one"),
    ]:
        with pytest.raises(ValueError, match=message):
            merge(paths, tmp_path / "out", order)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_labels(tmp_path / "x", labels_of(6, ["old"]))
    with pytest.raises(RuntimeError), LabelWriter(path, class_names=NAMES, palette=PALETTE) as out:
        out.add("new", np.zeros((3, 3), np.uint8))
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and list(open_labels(path)) == ["old"]


def test_a_store_travels_to_other_processes(tmp_path):
    labels = labels_of(7)
    store = open_labels(write_labels(tmp_path / "x", labels))
    assert store["a/b"].shape == labels["a/b"].shape  # the parent holds the file open while the child reads
    assert np.array_equal(pickle.loads(pickle.dumps(store))["a/b"], labels["a/b"])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        got = pool.map(store.__getitem__, IDS)
    assert all(np.array_equal(g, labels[i]) for g, i in zip(got, IDS, strict=True))


def test_errors_name_the_file(tmp_path):
    path = write_labels(tmp_path / "x", labels_of(8))
    with pytest.raises(KeyError, match=r"x: no image 'nope'"):
        open_labels(path)["nope"]
    with pytest.raises(FileNotFoundError, match="missing"):
        open_labels(tmp_path / "missing")
    with pytest.raises(ValueError, match="x: holds wsss-labels version 4, expected wsss-scores version 4"):
        open_scores(path)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "short").write_bytes(path.read_bytes()[:-500])
    for name in ("text", "short"):
        with pytest.raises(ValueError, match=f"{name}: not a complete HDF5 file") as e:
            open_labels(tmp_path / name)
        assert "\n" not in str(e.value)
    with h5py.File(tmp_path / "foreign", "w") as f:
        f["x"] = 1
    with pytest.raises(ValueError, match=r"foreign: .*not written by wsss"):
        open_labels(tmp_path / "foreign")
    with h5py.File(path, "r+") as f:
        f.attrs["version"] = 99
    with pytest.raises(ValueError, match="version 99"):
        open_labels(path)


def test_a_flipped_byte_is_found(tmp_path):
    path = write_labels(tmp_path / "x", labels_of(9))
    with h5py.File(path) as f:
        start = f["pixels"].id.get_chunk_info(3).byte_offset
    with path.open("r+b") as file:
        file.seek(start + 20)
        byte = file.read(1)[0]
        file.seek(start + 20)
        file.write(bytes([byte ^ 0xFF]))
    with pytest.raises(ValueError, match=r"etc/x' is damaged"):
        open_labels(path)[IDS[3]]


def test_writers_refuse_bad_input(tmp_path):
    with pytest.raises(ValueError, match="palette"):
        LabelWriter(tmp_path / "p", class_names=NAMES, palette=PALETTE[:2])
    with LabelWriter(tmp_path / "x", class_names=NAMES, palette=PALETTE) as out:
        out.add("a", np.zeros((2, 2), np.uint8))
        for image_id, label, message in [
            ("a", np.zeros((2, 2), np.uint8), "twice"),
            ("b\0c", np.zeros((2, 2), np.uint8), "NUL"),
            ("b", np.zeros((2, 2), np.int64), "expected uint8"),
            ("b", np.full((2, 2), 3, np.uint8), "class id 3, accepted are 0..2 and 255"),
        ]:
            with pytest.raises(ValueError, match=message):
                out.add(image_id, label)
    with ScoreWriter(tmp_path / "y", class_names=NAMES) as out:
        for classes, values, message in [
            ([1], np.zeros((2, 2, 2)), "expected"),
            ([3], np.zeros((1, 2, 2)), "different ids of 0..2"),
            ([1, 1], np.zeros((2, 2, 2)), "different ids"),
            ([1], np.full((1, 2, 2), np.nan), "NaN"),
        ]:
            with pytest.raises(ValueError, match=message):
                out.add("b", classes, values)
    assert list(open_labels(tmp_path / "x")) == ["a"] and len(open_scores(tmp_path / "y")) == 0


@pytest.mark.slow
def test_hundred_thousand_images(tmp_path):
    label = np.zeros((4, 4), np.uint8)
    ids = [f"folder/{i:012d}" for i in range(100_000)]
    with LabelWriter(tmp_path / "x", class_names=NAMES, palette=PALETTE) as out:
        for i, image_id in enumerate(ids):
            label[0, 0] = i % 3
            out.add(image_id, label)
    store = open_labels(tmp_path / "x")
    assert [int(store[ids[i]][0, 0]) for i in (0, 1, 77_777, 99_999)] == [0, 1, 77_777 % 3, 0]
    assert list(store) == ids


def add_and_die(path, labels, count, resume):
    """In a process of its own: add the first `count` maps, then die as kill -9 does."""
    out = LabelWriter(path, class_names=NAMES, palette=PALETTE, attributes={"split": "train"}, resume=resume)
    for image_id in list(labels)[:count]:
        out.add(image_id, labels[image_id])
    os.kill(os.getpid(), signal.SIGKILL)


def killed(path, labels, count, resume="same"):
    process = multiprocessing.get_context("fork").Process(target=add_and_die, args=(path, labels, count, resume))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return path


@pytest.mark.parametrize("torn", [0, 7])
def test_a_killed_writer_is_resumed_to_the_same_bytes(tmp_path, torn):
    labels = labels_of(8)
    whole = write_labels(tmp_path / "whole", labels).read_bytes()
    path = killed(tmp_path / "x", labels, 20)
    part = tmp_path / ".x.part"
    os.truncate(part, part.stat().st_size - torn)
    with LabelWriter(path, class_names=NAMES, palette=PALETTE, attributes={"split": "train"}, resume="same") as out:
        assert [i for i in labels if i in out] == list(labels)[: 20 - (torn > 0)]
        for image_id, label in labels.items():
            out.add(image_id, label)
    assert path.read_bytes() == whole and not part.exists()


@pytest.mark.parametrize("resume", [None, "other"])
def test_other_work_starts_afresh(tmp_path, resume):
    path = killed(tmp_path / "x", labels_of(10), 5)
    with LabelWriter(path, class_names=NAMES, palette=PALETTE, attributes={"split": "train"}, resume=resume) as out:
        assert len(out) == 0
