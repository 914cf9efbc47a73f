"""A disk that is full or read-only: one line says so, what was whole stays whole, and the same command goes on."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from small_data import make_folder
from wsss.runtime.files import write_atomically
from wsss.store.maps import open_labels
from wsss.store.writers import LabelWriter

NAMES, PALETTE = ["background", "cat"], np.zeros((2, 3), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 2, (400, 400)).astype(np.uint8)


@contextlib.contextmanager
def file_size_limit(size: int):
    """No file of this process may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


WRITERS = {
    "text": lambda path: path.write_bytes(bytes(2**21)),
    "torch": lambda path: torch.save({"a": torch.zeros(2**19)}, path),
    "safetensors": lambda path: save_file({"a": torch.zeros(2**19)}, path),
    "numpy": lambda path: np.savez(path.open("wb"), a=np.zeros(2**19)),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("limit", ["file size", "disk"])
def test_a_file_that_does_not_fit_leaves_the_old_one(writer, limit, tmp_path, request):
    folder = request.getfixturevalue("small_disk") if limit == "disk" else tmp_path
    path = folder / "result"
    path.write_text("earlier")
    guard = file_size_limit(2**19) if limit == "file size" else contextlib.nullcontext()
    with guard, pytest.raises(OSError, match=r"cannot write .*result \(.*\); free some space") as caught:
        write_atomically(path, WRITERS[writer])
    assert "\n" not in str(caught.value)
    assert path.read_text() == "earlier" and [p.name for p in folder.iterdir() if p.is_file()] == ["result"]


def add_all(path, ids):
    with LabelWriter(path, class_names=NAMES, palette=PALETTE, resume="same") as out:
        for image_id in ids:
            if image_id not in out:
                out.add(image_id, NOISE)


def test_a_store_goes_on_after_a_full_disk(tmp_path):
    ids = [f"image {number}" for number in range(40)]
    path, whole = tmp_path / "x.h5", tmp_path / "whole.h5"
    add_all(whole, ids)
    with file_size_limit(whole.stat().st_size // 2), pytest.raises(OSError, match=r"cannot write .*\.x\.h5\.part"):
        add_all(path, ids)
    assert not path.exists()
    with LabelWriter(path, class_names=NAMES, palette=PALETTE, resume="same") as out:
        kept = sum(image_id in out for image_id in ids)
        assert 0 < kept < len(ids), "what was whole is kept, what was cut is not"
        for image_id in ids[kept:]:
            out.add(image_id, NOISE)
    assert path.read_bytes() == whole.read_bytes()


def test_a_store_that_fits_as_journal_only_goes_on_after_room_was_made(small_disk):
    ids = [f"image {number}" for number in range(30)]
    path = small_disk / "x.h5"
    with pytest.raises(OSError, match="cannot write"):
        add_all(path, ids)
    assert not path.exists() and not list(small_disk.glob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    add_all(path, ids)
    with open_labels(path) as store:
        assert list(store) == ids and all((store[i] == NOISE).all() for i in ids)


def prepare(out, settings, **kwargs):
    command = [sys.executable, "-m", "wsss.stages.prepare_data", "--config", json.dumps(settings), "--out", str(out)]
    command += ["--log", str(out / "log.txt"), "--threads", "1"]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def test_a_stage_on_a_full_disk_says_so_in_one_line_and_resumes(small_disk):
    settings = {"dataset": "shapes", "train": 4, "val": 2}
    (small_disk / "other").write_bytes(os.urandom(2**20 - 40_000))
    full = prepare(small_disk / "out", settings)
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr and "no space left on device" in full.stderr.lower().splitlines()[-1]
    assert not (small_disk / "out" / "index.csv").exists()
    (small_disk / "other").unlink()
    assert prepare(small_disk / "out", settings).returncode == 0
    assert (small_disk / "out" / "index.csv").is_file()


def test_a_stage_on_a_read_only_disk_says_so_in_one_line(small_disk):
    (small_disk / "earlier").write_text("whole")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused = prepare(small_disk / "out", {"dataset": "shapes", "train": 4, "val": 2})
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "read-only file system" in refused.stderr.lower().splitlines()[-1]
    with pytest.raises(OSError, match=r"cannot write .*earlier \(read-only file system\)"):
        write_atomically(small_disk / "earlier", "")
    assert (small_disk / "earlier").read_text() == "whole"


def test_a_training_that_cannot_save_its_state_ends_as_if_nothing_had_happened(stage, tmp_path):
    settings = make_folder(tmp_path / "source")
    assert stage("prepare_data", tmp_path / "data", config=settings).code == 0
    training = {"epochs": 3, "batch_size": 2, "augment": {"crop": 32}}
    config = {"method": {"name": "cam"}, "backbone": {"name": "test_resnet", "pretrained": False}, "training": training}
    options = ["--data", tmp_path / "data", "--device", "cpu", "--workers", 0, "--checkpoint-seconds", 0]
    out, whole = tmp_path / "out", tmp_path / "whole"
    with file_size_limit(2**20):
        stage("train_classifier", out, *options, config=config).assert_refused(
            r"cannot write .*state\.pt \(.*\); free some space"
        )
    assert list((out / "state").glob("*")) == [out / "state" / "lock"]
    for folder in (out, whole):
        assert stage("train_classifier", folder, *options, config=config).code == 0
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert json.loads((out / "tables.json").read_text()).keys() == {"average_precision.csv", "history.csv"}
