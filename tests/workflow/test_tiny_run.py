"""The whole workflow on 24 images: what it writes, and what it does not do twice."""

from __future__ import annotations

import copy
import re
import shutil
import time
from importlib import import_module

import pandas as pd
import pytest
import timm
import torch
import yaml

from tiny import ROOT, TINY, Project
from wsss.data.dataset import Dataset
from wsss.plan.run import plan_runs
from wsss.store.maps import open_labels, open_scores

pytestmark = pytest.mark.timeout(600)


def planned(output: str) -> dict[str, int]:
    """Rule → number of jobs, from Snakemake's job table."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE) if name != "total"}


def test_table_has_every_row_and_column(tiny):
    table = pd.read_csv(tiny.table)
    rows = list(zip(table["stage"], table["split"], strict=True))
    assert rows == [
        ("cam", "train"),
        ("cam", "val"),
        ("cam_crf", "train"),
        ("refined", "train"),
        ("pseudo_label", "train"),
        ("segmentation", "val"),
        ("segmentation_crf", "val"),
    ]
    names = Dataset(tiny.folder / "results/tiny/prepare_data").class_names
    assert list(table.columns) == [
        *["stage", "split", "threshold", "threshold_source", "miou", "m_fn", "m_fp", "pixel_accuracy", "images"],
        *["miou_low", "miou_high"],
        *(f"iou_{name}" for name in names),
    ]
    assert table["images"].tolist() == [24 if split == "train" else 8 for _, split in rows]
    assert table[["miou", "pixel_accuracy"]].map(lambda v: 0 <= v <= 100).all(axis=None)
    ious = table[[f"iou_{name}" for name in names]].mean(axis=1)
    assert (table["miou"] - ious).abs().max() < 1e-3
    assert set(table["threshold_source"].dropna()) == {"oracle"}


def test_stage_folders_hold_their_records(tiny):
    for stage in ("train_classifier", "infer_cam", "segment"):
        folder = tiny.folder / "results" / "tiny" / stage
        assert (folder / "config.yaml").is_file() and (folder / "versions.json").is_file()
        assert any((folder / "timing").glob("*.json")) and list(folder.rglob("*.txt"))
    history = pd.read_csv(tiny.folder / "results/tiny/train_classifier/history.csv")
    assert len(history) == 6 and history["cls"].notna().all()
    precision = pd.read_csv(tiny.folder / "results/tiny/train_classifier/average_precision.csv").set_index("class")
    assert precision.loc["mean", "images"] == 8 and precision["average_precision"].dropna().between(0, 100).all()
    card = (tiny.folder / "results/tiny/model/model_card.md").read_text()
    assert f"classifier on the 8 images of val: {precision.loc['mean', 'average_precision']:.1f} %" in card


def test_stores_cover_their_splits(tiny):
    run = tiny.folder / "results" / "tiny"
    dataset = Dataset(run / "prepare_data")
    with open_labels(run / "make_pseudo_labels" / "train.h5") as labels:
        assert list(labels) == [r.image_id for r in dataset.split("train")]
        assert all(labels[r.image_id].shape == r.size for r in dataset.split("train"))
    with open_scores(run / "infer_cam" / "val.h5") as cams:
        for record in dataset.split("val"):
            assert cams[record.image_id].classes.tolist() == record.classes.tolist()


@pytest.fixture
def copied(tiny, tmp_path):
    """The finished run in another folder, without what Snakemake remembers, and with new times."""
    project = Project(tmp_path / "copy", TINY)
    for old in sorted(path for path in (tiny.folder / "results").rglob("*") if not path.is_dir() or path.is_symlink()):
        new = project.folder / old.relative_to(tiny.folder)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(old, new, follow_symlinks=False)
    return project


def test_second_command_has_nothing_to_do(tiny):
    again = tiny.snakemake()
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr


def test_a_copy_has_nothing_to_do_however_it_would_be_computed(copied):
    copied.configure(TINY, device="cpu", shards=3, workers=0, checkpoint_seconds=7, tensorboard=True)
    again = copied.snakemake()
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr


def test_a_changed_setting_reruns_what_follows_and_changing_it_back_trains_nothing(tiny, copied):
    project = copied
    changed = copy.deepcopy(TINY)
    changed["train_segmentation"]["training"]["optimizer"] = {"lr": 1e-3}
    project.configure(changed)
    run = project.snakemake()
    assert run.returncode == 0, run.stderr[-2000:]
    assert set(planned(run.stderr)) - {"check_networks", "check_data"} == {
        "train_segmentation",
        "segment_shard",
        "merge",
        "evaluate",
        "collect",
    }
    assert project.table.read_bytes() != tiny.table.read_bytes()
    project.configure(TINY)
    back = project.snakemake()
    assert set(planned(back.stderr)) == {"collect"}
    assert project.table.read_bytes() == tiny.table.read_bytes()


@pytest.fixture
def run_module(monkeypatch):
    """Runs a program of wsss with arguments, in this process."""

    def run(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        import_module(f"wsss.{name}").main()

    return run


@pytest.mark.parametrize("shards", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_shards_change_no_byte(tiny, tmp_path, run_module, shards):
    run = tiny.folder / "results" / "tiny"
    files = [tmp_path / f"{i}.h5" for i in range(shards)]
    for i, file in enumerate(files):
        arguments = {
            "config": run / "infer_cam/config.yaml",
            "data": run / "prepare_data",
            "classifier": run / "train_classifier/model.safetensors",
            "out": tmp_path / "out",
            "split": "train",
            "shard": i,
            "of": shards,
            "file": file,
            "threads": 1,
        }
        flags = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
        run_module("stages.infer_cam", *flags)
    merged = tmp_path / "merged.h5"
    run_module("stages.merge_shards", "--data", run / "prepare_data", "--split", "train", "--file", merged, *files)
    assert merged.read_bytes() == (run / "infer_cam/train.h5").read_bytes()


def test_exported_pngs_are_the_stored_labels(tiny, tmp_path, run_module):
    from wsss.data.dataset import read_mask

    file = tiny.folder / "results/tiny/make_pseudo_labels/train.h5"
    run_module("cli.labels", "export", file, "--out", tmp_path / "png")
    with open_labels(file) as labels:
        for image_id in labels:
            assert (read_mask(tmp_path / "png" / f"{image_id}.png") == labels[image_id]).all()


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (
            TINY | {"infer_cma": {}},
            "runs.tiny.infer_cma: unknown key; did you mean 'infer_cam'?",
        ),
        (
            {"prepare_data": {"dataset": "voc", "root": "nowhere"}, "train_segmentation": None},
            "runs.tiny.prepare_data.root: no JPEGImages folder in 'nowhere'",
        ),
    ],
)
def test_a_mistake_is_one_line_at_once(tmp_path, run, line):
    project = Project(tmp_path, run)
    start = time.monotonic()
    failed = project.snakemake()
    assert failed.returncode == 1 and time.monotonic() - start < 60
    assert not list(tmp_path.glob("results/stages/*/*/progress"))  # no job was started
    lines = [text for text in failed.stderr.splitlines() if text.strip()]
    assert lines[-1].startswith(line) and "Traceback" not in failed.stderr


def test_every_section_of_a_stage_can_be_read_from_its_folder(tiny):
    text = (tiny.folder / "results/tiny/train_classifier/config.yaml").read_text()
    assert yaml.safe_load(text)["training"]["epochs"] == 2


@pytest.mark.slow
def test_irnets_walk_starts_from_the_strided_maps(tmp_path):
    run = {
        **copy.deepcopy(TINY),
        "preset": ["shapes", "shapes-irnet"],
        "infer_cam": {"strided": True},
        "refine_cam": {"start": "strided", "steps": 4},
        "train_segmentation": None,
    }
    project = Project(tmp_path, run)
    done = project.snakemake()
    assert project.table.is_file(), done.stderr[-2000:]
    strided, full = (open_scores(tmp_path / f"results/tiny/infer_cam/train{suffix}.h5") for suffix in ("_strided", ""))
    for image_id, found in strided.items():
        assert found.scores.shape[1:] == tuple(-(-n // 4) for n in full[image_id].scores.shape[1:])
    assert len(strided) == 24


@pytest.mark.slow
def test_weights_replaced_under_their_name_train_a_network_of_their_own(tmp_path):
    weights = tmp_path / "weights.pth"
    backbone = {"name": "test_resnet", "output_stride": 8, "checkpoint": str(weights)}
    run = TINY | {"train_classifier": {"backbone": backbone, "training": {"epochs": 1, "batch_size": 8}}}
    project = Project(tmp_path / "project", run)
    made = {}
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_resnet").state_dict(), weights)
        plan = plan_runs({"runs": {"tiny": run}}, ROOT / "workflow" / "presets")["tiny"]
        step = next(step for step in plan.steps if step.stage == "train_classifier")
        model = project.folder / step.folder / "model.safetensors"
        again = model.is_file()
        done = project.snakemake(target=str(model.relative_to(project.folder)))
        assert done.returncode == 0, done.stderr[-2000:]
        assert again == ("Nothing to be done" in done.stderr)
        made.setdefault(seed, set()).add(model.read_bytes())
    assert len(made[0]) == len(made[1]) == 1 and made[0] != made[1]
    history = pd.read_csv(model.parent / "history.csv")
    assert len(history) == 3  # of its own training, and not a step more
