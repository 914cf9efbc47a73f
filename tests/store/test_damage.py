"""Whatever is done to a file, it gives the maps that were written, or one line."""

from __future__ import annotations

import shutil
import tracemalloc

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.store import MaskStore, write_masks
from wsss.store.checks import read_texts, require_texts
from wsss.store.hdf5 import put_texts
from wsss.store.maps import open_any
from wsss.store.merging import merge
from wsss.store.models import read_model, save_model
from wsss.store.writers import LabelWriter, ScoreWriter

NAMES = ("background", "cat", "dog")
PALETTE = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
IDS = [f"folder/{i}" for i in range(12)]


def make_labels(path):
    rng = np.random.default_rng(1)
    with LabelWriter(path, class_names=NAMES, palette=PALETTE, attributes={"threshold": "0.3"}) as out:
        for image_id in IDS:
            out.add(image_id, rng.integers(0, 3, (30, 40)).astype(np.uint8))


def make_scores(path):
    rng = np.random.default_rng(2)
    with ScoreWriter(path, class_names=NAMES) as out:
        for image_id in IDS:
            out.add(image_id, np.array([1, 2]), rng.random((2, 30, 40), np.float32))


def content(path):
    """Everything a reader can learn from a store."""
    with open_any(path) as store:
        about = (store.class_names, str(store.palette), store.attributes, list(store))
        return about, [[np.asarray(part).tobytes() for part in (store[i],)[0]] for i in store]


def make_model(path):
    torch.manual_seed(0)
    save_model(torch.nn.Linear(7, 5), path, "classifier", {"a": 1}, list(NAMES))


def model_content(path):
    tensors, settings, classes = read_model(path, "classifier")
    return {n: t.numpy().tobytes() for n, t in tensors.items()}, settings, classes


READERS = {"labels": (make_labels, content), "scores": (make_scores, content), "model": (make_model, model_content)}


def attack(kind, folder, count, seed):
    """Flips a bit or cuts the file, `count` times; how many damages went unseen."""
    make, read = READERS[kind]
    whole, damaged = folder / "whole", folder / "damaged"
    make(whole)
    expected, data = read(whole), whole.read_bytes()
    rng = np.random.default_rng(seed)
    silent = 0
    for _ in range(count):
        spoilt = bytearray(data)
        if rng.random() < 0.8:
            spoilt[rng.integers(len(data))] ^= 1 << rng.integers(8)
        else:
            del spoilt[rng.integers(len(data)) :]
        damaged.write_bytes(spoilt)
        try:
            found = read(damaged)
        except (ValueError, OSError) as error:
            assert "\n" not in str(error) and str(damaged) in str(error)
        else:
            silent += found != expected
    return silent


@pytest.mark.parametrize("kind", READERS)
def test_no_damage_to_a_file_is_read_as_other_content(kind, tmp_path):
    assert attack(kind, tmp_path, 60, 0) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", READERS)
def test_no_damage_to_a_file_is_read_as_other_content_in_2000_tries(kind, tmp_path):
    assert attack(kind, tmp_path, 2000, 1) == 0


def test_merging_checks_what_it_copies(tmp_path):
    make_scores(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as f:
        start = f["pixels"].id.get_chunk_info(5).byte_offset
    spoilt = bytearray((tmp_path / "a.h5").read_bytes())
    spoilt[start + 9] ^= 4
    (tmp_path / "a.h5").write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"a\.h5: image 'folder/5' is damaged"):
        merge([tmp_path / "a.h5"], tmp_path / "b.h5", IDS)
    assert not (tmp_path / "b.h5").exists()


def test_values_from_other_files_are_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"s" * 65536)
    make_labels(tmp_path / "x.h5")
    for spoil in (link_outside, store_outside, map_outside):
        shutil.copy(tmp_path / "x.h5", tmp_path / "y.h5")
        with h5py.File(tmp_path / "y.h5", "r+") as f:
            del f["pixels"]
            spoil(f, tmp_path)
        with pytest.raises(ValueError, match=r"y\.h5: damaged \('pixels' (is no dataset|takes its values)"):
            open_any(tmp_path / "y.h5")


def link_outside(f, folder):
    f["pixels"] = h5py.ExternalLink(str(folder / "x.h5"), "pixels")


def store_outside(f, folder):
    f.create_dataset("pixels", (65536,), "u1", external=[(str(folder / "secret.bin"), 0, 65536)])


def map_outside(f, folder):
    layout = h5py.VirtualLayout((65536,), "u1")
    layout[:] = h5py.VirtualSource(str(folder / "x.h5"), "pixels", (65536,))
    f.create_virtual_dataset("pixels", layout)


def test_a_small_file_cannot_claim_gigabytes(tmp_path):
    make_scores(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as f:
        f["pixels"].resize((2**31,))
        f["shapes"][11] = 2, 30000, 30000
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"x\.h5: damaged"):
        open_any(tmp_path / "x.h5")["folder/11"]
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def huge_palette(f):
    f.create_dataset("palette", (10**8, 3), "u1", chunks=(1000, 3))


def huge_names(f):
    del f["class_names"]
    f.create_dataset("class_names", (10**7,), "S1000", chunks=(1000,), compression="gzip", fletcher32=True)


def huge_chunk(f):
    del f["shapes"]
    f.create_dataset("shapes", (10**7, 3), "i4", chunks=(10**7, 3), compression="gzip", fletcher32=True)[0] = 0


@pytest.mark.parametrize("claim", [huge_palette, huge_names, huge_chunk])
def test_what_a_file_says_of_itself_is_checked_before_it_is_read(claim, tmp_path):
    make_scores(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as f:
        claim(f)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"x\.h5: damaged .* (of another shape|not complete)"):
        open_any(tmp_path / "x.h5")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("about", ["[]", "{}", "null", '{"kind": "classifier", "settings": [], "classes": 3}'])
def test_a_model_file_that_does_not_say_what_it_holds_is_one_line(about, tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "m", {"wsss": about})
    with pytest.raises(ValueError, match="does not say what network it holds"):
        read_model(tmp_path / "m", "classifier")


@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_a_writer_resumes_a_damaged_journal_to_the_same_maps(count, tmp_path):
    path = tmp_path / "x.h5"
    writer = LabelWriter(path, class_names=NAMES, palette=PALETTE, resume="t")
    rng = np.random.default_rng(3)
    labels = {i: rng.integers(0, 3, (9, 9)).astype(np.uint8) for i in IDS}
    for image_id, label in labels.items():
        writer.add(image_id, label)
    journal = tmp_path / ".x.h5.part"
    data = journal.read_bytes()
    writer._journal.close()
    for _ in range(count):
        spoilt = bytearray(data)
        spoilt[rng.integers(len(data))] ^= 1 << rng.integers(8)
        journal.write_bytes(spoilt[: rng.integers(len(data) // 2, len(data))])
        with LabelWriter(path, class_names=NAMES, palette=PALETTE, resume="t") as out:
            for image_id, label in labels.items():
                out.add(image_id, label)
        with open_any(path) as store:
            assert list(store) == IDS and all((store[i] == labels[i]).all() for i in IDS)


def test_weights_that_are_not_finite_are_neither_saved_nor_read(tmp_path):
    model = torch.nn.Linear(2, 2)
    make_model(tmp_path / "good")
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="holds NaN"):
        save_model(model, tmp_path / "bad", "classifier", {}, list(NAMES))
    assert not (tmp_path / "bad").exists()
    data = bytearray((tmp_path / "good").read_bytes())
    data[-4:] = np.float32("inf").tobytes()
    (tmp_path / "good").write_bytes(data)
    with pytest.raises(ValueError, match="holds NaN"):
        read_model(tmp_path / "good", "classifier")


def test_model_files_are_as_readable_as_others(tmp_path):
    make_model(tmp_path / "m")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("length", [1, 300, 5000])
def test_texts_of_any_number_and_length_are_read_as_they_were(length, tmp_path):
    texts = [f"{number:0{length}}" for number in range(200_000 // (length + 2))]
    with h5py.File(tmp_path / "x.h5", "w", libver=("v110", "v110")) as f:
        put_texts(f, "ids", texts)
        require_texts(f["ids"])
        assert list(read_texts(f["ids"])) == texts


WRITERS = {
    "labels": make_labels,
    "scores": make_scores,
    "masks": lambda path: write_masks(path, [(i, Masks.from_dense(np.ones((1, 3, 4), bool))) for i in IDS]),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_texts_of_variable_length_are_neither_written_nor_read(kind, tmp_path):
    """HDF5 follows their sizes unchecked: a flipped bit takes gigabytes, or never ends."""
    WRITERS[kind](tmp_path / "x.h5")
    assert b"GCOL" not in (tmp_path / "x.h5").read_bytes()
    path = tmp_path / "y.h5"
    for part in ("attribute format", "dataset ids", *(["dataset class_names"] if kind != "masks" else [])):
        shutil.copy(tmp_path / "x.h5", path)
        where, name = part.split()
        with h5py.File(path, "r+") as f:
            if where == "attribute":
                f.attrs[name] = f.attrs[name].decode()
            else:
                texts = f[name].asstr()[:]
                del f[name]
                f.create_dataset(name, data=texts, dtype=h5py.string_dtype(), chunks=texts.shape)
        with pytest.raises(
            ValueError, match=r"y\.h5: (damaged .*no (texts of fixed length|checksums)|.*(not written|no masks))"
        ):
            MaskStore(path).__enter__() if kind == "masks" else open_any(path)
