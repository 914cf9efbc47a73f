"""Every command that writes, given a place where nothing may be written: one line, exit status 2, nothing changed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from small_data import picture
from wsss.cli.main import main
from wsss.config.loading import WORKFLOW

STAGE = f"results/stages/evaluate/{'0' * 16}"
PLACES = {
    "below a file": ("file/x", "file is not a folder"),
    "below a broken link": ("loop/x", "loop is a broken link"),
    "in a stage's results": (f"{STAGE}/x", "lies in a stage's results"),
    "in a stage's results by a run's link": ("results/tiny/evaluate/x", "lies in a stage's results"),
    "where nobody may write": ("new/x", "nothing may be written into"),
}
LINES = {
    "predict": "predict --model m.safetensors a.png --out {}",
    "export": "export --model m.safetensors --onnx {}/m.onnx",
    "compare": "compare runs --out {}/c.html",
    "masks": "masks proposals --out {}/m.h5",
    "labels export": "labels export m.h5 --out {}",
    "init": "init photos --labels labels.csv --config {}/c.yaml",
}
THERE = {
    "export": ("export --model m.safetensors --onnx {}", "text.txt"),
    "export over another's": ("export --model m.safetensors --onnx {}", "mine.onnx"),
    "export to a folder": ("export --model m.safetensors --onnx {}", "folder.onnx"),
    "compare": ("compare runs --out {}", "mine.html"),
    "masks": ("masks proposals --out {}", "text.txt"),
    "masks to a folder": ("masks proposals --out {}", "folder.onnx"),
    "labels export": ("labels export m.h5 --out {}", "photos"),
    "init": ("init photos --labels labels.csv --config {}", "mine.yaml"),
    "init over a broken link": ("init photos --labels labels.csv --config {}", "loop.yaml"),
    "compare over a broken link": ("compare runs --out {}", "loop.html"),
    "predict": ("predict --model m.safetensors a.png --out {}", "text.txt"),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "proposals/a", STAGE, "results/tiny", "folder.onnx"):
        Path(folder).mkdir(parents=True)
    for name in ("a.png", "photos/a.png"):
        picture(1).save(name)
    picture(2).convert("1").save("proposals/a/0.png")
    Path("labels.csv").write_text("image,labels\na,cat\n")
    for name in ("file", "m.safetensors", "m.h5", "text.txt", "mine.html", "mine.yaml", "mine.onnx"):
        Path(name).write_text("<html>somebody's own</html>")
    for name in ("loop", "loop.yaml", "loop.html"):
        Path(name).symlink_to("nowhere")
    Path("results/tiny/evaluate").symlink_to(f"../../{STAGE}", target_is_directory=True)
    return tmp_path


def state(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_refused(line: str, told: str, folder: Path, monkeypatch, capsys) -> None:
    before = state(folder)
    monkeypatch.setattr(sys, "argv", ["wsss", *line.split()])
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and told in error, error
    assert state(folder) == before


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", LINES)
def test_a_place_that_takes_no_file_is_told_before_any_work(command, place, project, monkeypatch, capsys):
    out, told = PLACES[place]
    if out.startswith("new"):  # whoever is root may write anywhere
        monkeypatch.setattr("wsss.runtime.targets.os.access", lambda *_: False)
    assert_refused(LINES[command].format(out), told, project, monkeypatch, capsys)


@pytest.mark.parametrize("case", THERE)
def test_only_what_a_command_itself_writes_is_ever_replaced(case, project, monkeypatch, capsys):
    line, name = THERE[case]
    assert_refused(line.format(name), name, project, monkeypatch, capsys)


EMPTY = {
    "predict": ["predict", "--model", "m.safetensors", "a.png", "--out", ""],
    "predict nothing": ["predict", "--model", "m.safetensors", "", "--out", "masks"],
    "export": ["export", "--model", "m.safetensors", "--onnx", ""],
    "compare": ["compare", "", "--out", "c.html"],
    "masks": ["masks", "proposals", "--out", " "],
    "labels export": ["labels", "export", "m.h5", "--out", ""],
    "labels import": ["labels", "import", "", "--classes", "cat", "--out", "new"],
    "init": ["init", "", "--labels", "labels.csv"],
    "run": ["run", "photos", "--labels", "labels.csv", "--out", ""],
    "show": ["show", ""],
    "status": ["status", ""],
    "clean": ["clean", ""],
    "reproduce": ["reproduce", "--tables", ""],
}


@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_path_is_not_the_current_folder(case, project, monkeypatch, capsys):
    before = state(project)
    monkeypatch.setattr(sys, "argv", ["wsss", *EMPTY[case]])
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert end.value.code == 2 and ("is empty; accepted is a path" in error or "an empty name" in error), error
    assert state(project) == before


IMPORTED = {
    "within what is read": (["--classes", "cat", "--out", "photos/out"], "lies in photos, which is read"),
    "what is read": (["--classes", "cat", "--out", "photos"], "exists and is not empty"),
    "a class twice": (["--classes", "cat", "cat", "--out", "new"], "--classes: class name 'cat' occurs twice"),
    "classes alike": (["--classes", "cat", "Cat", "--out", "new"], "--classes: classes 'cat' and 'Cat' differ in case"),
    "the background": (["--classes", "background", "cat", "--out", "new"], "the background is implied"),
    "no name": (["--classes", "", "--out", "new"], "--classes: class name ''"),
    "too many": (["--classes", *map(str, range(255)), "--out", "new"], "255 classes, e.g. 0, 1, 2; accepted: 1 to 254"),
}


@pytest.mark.parametrize("case", IMPORTED)
def test_imports_check_their_classes_and_their_place(case, project, monkeypatch, capsys):
    arguments, told = IMPORTED[case]
    before = state(project)
    monkeypatch.setattr(sys, "argv", ["wsss", "labels", "import", "photos", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and told in error, error
    assert state(project) == before


NO_RUNS = {
    "show": ["show", "{}"],
    "compare": ["compare", "{}", "--out", "c.html"],
    "predict": ["predict", "a.png", "--run", "{}", "--out", "masks"],
    "export": ["export", "--run", "{}", "--onnx", "m.onnx"],
    "labels export": ["labels", "export", "{}", "--out", "new"],
    "labels import": ["labels", "import", "photos", "--run", "{}", "--out", "new"],
}


@pytest.mark.parametrize(
    "run", ["results", "results/nowhere", "tiny", ".", "results/tiny/segment", "results/new", "a.png"]
)
@pytest.mark.parametrize("command", NO_RUNS)
def test_what_is_no_run_is_told_with_what_may_be_meant(command, run, project, monkeypatch, capsys):
    if (command, run) == ("labels export", "a.png"):
        pytest.skip("a file of labels may be named")
    Path("results/stages").mkdir(exist_ok=True)
    Path("results/tiny/run.json").write_text("{}")
    Path("results/tiny/segment").mkdir(exist_ok=True)
    Path("config.yaml").write_text("runs: {new: {preset: shapes}}\n")
    told = dict.fromkeys(["tiny", ".", "results/tiny/segment"], "no folder of a run; accepted here: results/tiny") | {
        "results": "results: holds all results; name a run's folder there: tiny",
        "results/nowhere": "there, as it is no folder of a run; accepted here: results/tiny",
        "results/new": f"make it with: snakemake --cores all --snakefile {WORKFLOW}/Snakefile -- results/new/miou.csv",
        "a.png": "a.png: is a file; accepted is the folder of a run",
    }
    before = state(project)
    monkeypatch.setattr(sys, "argv", ["wsss", *(part.format(run) for part in NO_RUNS[command])])
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and told[run] in error, error
    assert state(project) == before
