"""A finished run with a damaged file: every command refuses it in one line that names the file, and writes nothing."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from synthetic import make_run
from wsss.cli.compare import distinct
from wsss.data.dataset import Dataset
from wsss.report.run import RunResults
from wsss.runtime.records import SEALS, read_table, seal_tables
from wsss.stages.collect import collect
from wsss.stages.common import read_threshold
from wsss.stages.report import report
from wsss.store.models import save_model

COMMANDS = {
    "show": "wsss.cli.show results/run0",
    "compare": "wsss.cli.compare results/run0 --out out/x.html",
    "labels export": "wsss.cli.labels export results/run0 --format coco --out out --images",
    "labels import": "wsss.cli.labels import masks --run results/run0 --out out",
    "report": "wsss.stages.report --run results/run0",
    "collect": "wsss.stages.collect --run results/run0 --table results/run0/evaluate/miou.csv --outline",
}
READ_BY = {
    "miou.csv": ("show", "compare", "report"),
    "run.json": ("compare", "report"),
    "evaluate/miou.csv": ("collect",),
    "evaluate/curve.csv": ("compare", "report"),
    "evaluate/summary.json": ("show",),
    "evaluate/config.yaml": ("compare", "report"),
    "evaluate/confusion.npz": ("report",),
    "choose_threshold/threshold.json": ("compare", "report"),
    "train_classifier/history.csv": ("compare", "report"),
    "train_classifier/average_precision.csv": ("show", "collect"),
    "train_segmentation/config.yaml": ("collect",),
    "train_segmentation/versions.json": ("collect",),
    "segment/timing/log.json": ("compare", "report"),
    "segment/val.h5": ("compare", "report"),
    "make_pseudo_labels/train.h5": ("labels export", "report"),
    "prepare_data/dataset.json": ("compare", "labels export", "labels import", "collect"),
    "prepare_data/index.csv": ("compare", "labels export", "labels import"),
    "prepare_data/data_card.md": ("collect",),
    "train_segmentation/model.safetensors": ("collect",),
}
"""File of a run → the commands that read it."""


def other_value(path: Path) -> None:
    """A text in the place of the first number of a table, or of the first value of a record."""
    if path.suffix == ".csv":
        head, line, *rest = path.read_text().splitlines()
        at = next(i for i, cell in enumerate(line.split(",")) if cell.replace(".", "").isdigit())
        cells = line.split(",")
        path.write_text("\n".join([head, ",".join([*cells[:at], "many", *cells[at + 1 :]]), *rest]) + "\n")
    elif path.suffix == ".json":
        content = json.loads(path.read_text())
        path.write_text(json.dumps({key: {"x": []} for key in content} or [1]))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2 - 1]),
    "a web page": lambda path: path.write_text("<!DOCTYPE html><html>404, not found</html>"),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00\x80" * 99),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "another value": other_value,
}
LEGAL = {
    ("cut short", "prepare_data/data_card.md"),  # text for people
    ("a web page", "prepare_data/data_card.md"),
    ("empty", "prepare_data/data_card.md"),
    ("another value", "train_segmentation/versions.json"),
}
BINARY = (".h5", ".safetensors", ".npz", ".md", ".yaml")
CASES = [
    (command, file, damage)
    for file, commands in READ_BY.items()
    for number, command in enumerate(commands)
    for damage in (DAMAGES if number == 0 else ["cut short"])
    if (damage, file) not in LEGAL and not (damage == "another value" and file.endswith(BINARY))
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project with a finished run."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        run = make_run(Path("results"), "tiny", train=3, val=2)
        weights = torch.nn.Conv2d(1, 1, 1), run / "train_segmentation" / "model.safetensors"
        save_model(*weights, "segmentation", {}, ["background", "cat"])
        (run / "train_segmentation" / "versions.json").write_text('{"torch": "9.9"}')
        (run / "prepare_data" / "data_card.md").write_text("# Data\n")
        precision = "class,images,average_precision\nx,1,50.00\nmean,2,50.00\n"
        (run / "train_classifier" / "average_precision.csv").write_text(precision)
        Path("masks").mkdir()
    return home


def written(home: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("command", "file", "damage"), CASES, ids=lambda value: value.replace(" ", "-"))
def test_a_damaged_file_is_named_and_nothing_written(command, file, damage, home, monkeypatch, capfd, caplog):
    monkeypatch.chdir(home)
    path = (home / "results/run0" / file).resolve()
    honest, outline = path.read_bytes(), (home / "results/run0/run.json").read_text()
    DAMAGES[damage](path)
    before = written(home)
    module, *arguments = COMMANDS[command].split()
    monkeypatch.setattr(sys, "argv", [module, *arguments, *([outline] if command == "collect" else [])])
    try:
        with pytest.raises(SystemExit) as end:
            importlib.import_module(module).main()
        told = f"{capfd.readouterr().err}{caplog.text}"
        lines = [line.partition("error: ")[2] for line in told.splitlines() if "error: " in line]
        assert end.value.code == 2 and len(set(lines)) == 1 and "Traceback" not in told, told
        assert path.name in lines[0] or (path.parent.name in lines[0] and damage[:2] == "a "), lines
        assert written(home) == before and not (home / "out").exists()
    finally:
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes(honest)


FOREIGN = {
    "a row of no stage": (
        "evaluate/curve.csv",
        lambda text: text.replace("\ncam,", "\ncom,", 1),
        "is no row of the run",
    ),
    "a point without threshold": ("evaluate/curve.csv", lambda text: text.replace("0.1000", ""), "is missing in a row"),
    "a row of another run": (
        "miou.csv",
        lambda text: f"{text}{text.splitlines()[1].replace('cam', 'x')}\n",
        "is no row",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_table_of_other_rows_is_refused(case, home, monkeypatch):
    file, change, told = FOREIGN[case]
    monkeypatch.chdir(home)
    path = (home / "results/run0" / file).resolve()
    honest = path.read_text()
    path.write_text(change(honest))
    try:
        run = RunResults(Path("results/run0"))
        with pytest.raises(ValueError, match=rf"{path.name}: damaged \(.*{told}"):
            _ = run.table, run.curves
    finally:
        path.write_text(honest)


@pytest.mark.parametrize("file", [name for name in READ_BY if name.endswith(".csv") and "/" in name])
def test_a_table_that_ends_at_a_line_is_not_whole(file, home):
    path = home / "results/run0" / file
    honest = path.read_text()
    seal_tables(path.parent)
    try:
        path.write_text("".join(honest.splitlines(keepends=True)[:-1]))
        with pytest.raises(ValueError, match=rf"{path.name}: damaged \(it is not what was written"):
            read_table(path)
    finally:
        path.write_text(honest)
        path.with_name(SEALS).unlink()


@pytest.mark.parametrize(
    ("file", "old", "new", "read"),
    [
        ("prepare_data/index.csv", ",train,", ",val,", lambda folder: Dataset(folder).records),
        ("prepare_data/dataset.json", "background", "ground", lambda folder: Dataset(folder).class_names),
        ("choose_threshold/threshold.json", "0.", "0.9", lambda folder: read_threshold(folder / "threshold.json")),
    ],
)
def test_a_value_changed_by_hand_is_not_read_as_the_stages(file, old, new, read, home):
    path = home / "results/run0" / file
    honest = path.read_text()
    seal_tables(path.parent)
    try:
        read(path.parent)
        path.write_text(honest.replace(old, new, 1))
        with pytest.raises(ValueError, match=rf"{path.name}.*: damaged \(.*it is not what was written"):
            read(path.parent)
    finally:
        path.write_text(honest)
        path.with_name(SEALS).unlink()


def test_a_copy_in_the_place_of_a_link_is_named(tmp_path):
    (tmp_path / "tiny/segment").mkdir(parents=True)
    (tmp_path / "miou.csv").write_text("stage,split,images,miou\n")
    outline = {"run": "tiny", "steps": [{"label": name, "folder": "x"} for name in ("evaluate", "segment")]}
    with pytest.raises(ValueError, match=r"tiny/segment: a link to the stage's results belongs there; move this away"):
        collect(tmp_path / "tiny", outline, tmp_path / "miou.csv")
    assert not (tmp_path / "tiny/evaluate").is_symlink()


def test_runs_of_one_name_are_told_apart(home, tmp_path):
    shutil.copytree(home / "results", tmp_path / "results", symlinks=True)
    runs = [home / "results/run0", tmp_path / "results/run0"]
    assert [run.name for run in distinct(runs)] == list(map(str, runs))
    with pytest.raises(ValueError, match=r"run0: is named twice; accepted are different runs"):
        distinct([*runs, home / "results/stages/../run0"])


LOST = {
    "a link to nothing": (lambda link: link.symlink_to("nowhere"), r"train_classifier: is not there any more; make it"),
    "an empty folder": (lambda link: link.mkdir(), r"config\.yaml: damaged \(there is no 'method'\)"),
}


@pytest.mark.parametrize("case", LOST)
def test_a_lost_stage_is_no_report(case, home, monkeypatch):
    monkeypatch.chdir(home)
    link, (lose, told) = home / "results/run0/train_classifier", LOST[case]
    link.rename(kept := link.with_name("kept"))
    lose(link)
    before = written(home)
    try:
        with pytest.raises(ValueError, match=told):
            report(Path("results/run0"), 1)
        assert written(home) == before
    finally:
        link.unlink() if link.is_symlink() else link.rmdir()
        kept.rename(link)


SHORT = {
    "no rows": lambda lines: lines[:1],
    "a row too few": lambda lines: lines[:-1],
    "a row twice": lambda lines: [*lines, lines[-1]],
    "no such column": lambda lines: [lines[0].replace("m_fn", "fn"), *lines[1:]],
    "a class without column": lambda lines: [lines[0].replace("iou_background", "iou_ground"), *lines[1:]],
}


@pytest.mark.parametrize("case", SHORT)
def test_a_table_that_lost_a_row_or_a_column_is_no_report(case, home, monkeypatch):
    monkeypatch.chdir(home)
    path = home / "results/run0/miou.csv"
    honest = path.read_text()
    path.write_text("\n".join(SHORT[case](honest.splitlines())) + "\n")
    before = written(home)
    try:
        with pytest.raises(ValueError, match=r"miou\.csv: damaged \("):
            report(Path("results/run0"), 1)
        assert written(home) == before
    finally:
        path.write_text(honest)


def test_an_honest_run_has_its_report(home, monkeypatch):
    monkeypatch.chdir(home)
    report(Path("results/run0"), 1)
    assert (home / "results/run0/report.html").is_file()
