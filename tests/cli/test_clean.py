"""`wsss clean` removes what no run of the project refers to, from wherever it is called, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from small_data import make_folder
from wsss.cli.jobs import read_status
from wsss.cli.main import main
from wsss.plan.run import plan_runs
from wsss.runtime.progress import job_file

OLD, LINKED = f"results/stages/evaluate/{'0' * 16}", f"results/stages/evaluate/{'1' * 16}"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with relative paths and two configurations; every step of their runs has a folder, and two more."""
    folder = tmp_path / "project"
    make_folder(folder / "data")
    data = {"dataset": "folder", "images": "data/photos", "labels": "data/labels.csv"}
    monkeypatch.chdir(folder)
    for file, run in (("config.yaml", "a"), ("mine.yaml", "b")):
        settings = {"preset": "shapes", "prepare_data": data | {"max_edge": 64 if run == "a" else 96}}
        Path(file).write_text(yaml.safe_dump({"runs": {run: settings}}))
        for step in plan_runs(yaml.safe_load(Path(file).read_text()))[run].steps:
            with job_file(step.folder / "progress" / "log.json", step.stage, step.folder / "log.txt"):
                pass
    Path("other.yaml").write_text("services: {web: {image: x}}\n")
    for path in (OLD, LINKED):
        Path(path).mkdir(parents=True)
    Path("results/a").mkdir()
    Path("results/a/evaluate").symlink_to(f"../../{LINKED}", target_is_directory=True)
    return folder


def clean(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["wsss", "clean", *arguments])
    main()


FROM = {
    ".": "results",
    "results": ".",
    "..": "project/results",
    "../elsewhere": "../project/results",
    "/": "{project}/results",
}


@pytest.mark.parametrize("cwd", FROM)
def test_the_project_of_the_results_counts_wherever_one_is(cwd, project, monkeypatch, capsys):
    Path("../elsewhere").mkdir()
    Path("../elsewhere/config.yaml").write_text("runs: {z: {preset: shapes}}\n")  # another project's
    before = {path for path in project.rglob("*") if path.is_dir()}
    monkeypatch.chdir(cwd)
    results = FROM[cwd].format(project=project)
    names = {name for step in read_status(Path(results)) for name in step.names}
    assert {"a/prepare_data", "b/prepare_data"} <= names
    clean(monkeypatch, results, "--remove")
    assert before - {path for path in project.rglob("*") if path.is_dir()} == {project / OLD}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda: Path("mine.yaml").write_text("runs: {b: {}, b: {}}"), "mine.yaml: not YAML that is accepted"),
        (
            lambda: Path("mine.yaml").write_text("runs: {b: {preset: shape}}"),
            "mine.yaml: runs.b.preset: no",
        ),
        (lambda: [Path(name).unlink() for name in ("config.yaml", "mine.yaml")], "name it by --configfile"),
        (lambda: Path("results").rename("moved"), "results: no folder of results"),
    ],
)
def test_what_is_not_known_to_be_of_no_use_stays(spoil, told, project, monkeypatch, capsys):
    spoil()
    before = sorted(project.rglob("*"))
    with pytest.raises(SystemExit) as end:
        clean(monkeypatch, "--remove")
    error = capsys.readouterr().err
    assert end.value.code == 2 and told in error and error.count("\n") == 1, error
    assert sorted(project.rglob("*")) == before


def test_a_finished_run_of_a_configuration_elsewhere_is_told(project, monkeypatch, capsys):
    Path("configs").mkdir()
    Path("mine.yaml").rename("configs/mine.yaml")
    Path("config.yaml").rename("config.YAML")
    for run in "ab":
        Path(f"results/{run}").mkdir(exist_ok=True)
        Path(f"results/{run}/run.json").write_text("{}")
    clean(monkeypatch)
    told = [line for line in capsys.readouterr().err.splitlines() if "configuration" in line]
    assert told == ["results/b: is in no configuration that counts; --configfile names others"]


def test_what_no_stage_made_stays(project, monkeypatch, capsys, tmp_path):
    stage, keys = Path("results/stages/evaluate"), [letter * 16 for letter in "abcdef"]
    for name in ("mine", keys[0]):
        (stage / name).mkdir()
        (stage / name / "notes.txt").write_text("mine")
    (tmp_path / "disk" / "manifest.json").parent.mkdir()
    (tmp_path / "disk" / "manifest.json").write_text("{}")
    (stage / keys[1]).symlink_to(tmp_path / "disk", target_is_directory=True)
    (stage / keys[2]).symlink_to("nowhere")
    for key in keys[3:5]:  # of no run, and of a table whose links are lost
        (stage / key).mkdir()
        (stage / key / "manifest.json").write_text("garbage")
    steps = [{"label": "evaluate", "stage": "evaluate", "folder": f"{stage}/{keys[4]}", "upstream": {}}]
    Path("results/a/run.json").write_text(json.dumps({"run": "a", "published": {}, "steps": steps}))
    before = {path for path in tmp_path.rglob("*") if path.is_dir()}
    clean(monkeypatch, "--remove")
    gone = {project / OLD, project / stage / keys[3]}
    assert before - {path for path in tmp_path.rglob("*") if path.is_dir()} == gone
    assert (stage / keys[1]).is_symlink() and (stage / keys[2]).is_symlink()
    assert f"{stage / keys[0]}: stays, as it has no manifest.json" in capsys.readouterr().err
