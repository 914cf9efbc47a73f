"""Progress files and what `wsss status` makes of them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wsss.cli.jobs import read_status
from wsss.cli.status import render
from wsss.config.hints import making
from wsss.config.loading import WORKFLOW
from wsss.runtime.progress import Progress, job_file


def progress_of(folder: Path, name: str = "log") -> dict:
    return json.loads((folder / "progress" / f"{name}.json").read_text())


def run_job(folder: Path, total: int, done: int, name: str = "log", **values: Any) -> None:
    with job_file(folder / "progress" / f"{name}.json", folder.parent.name, folder / f"{name}.txt"):
        progress = Progress(total, "images")
        progress.update(done, **values)


def text(results: Path) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(render(results))
    return console.export_text()


def test_a_job_tells_how_far_it_is_and_how_it_ended(tmp_path):
    folder = tmp_path / "stages" / "train_classifier" / ("0" * 16)
    path = folder / "progress" / "log.json"
    with job_file(path, "train_classifier", folder / "log.txt"):
        assert progress_of(folder)["state"] == "running"
        Progress(10, "steps", items=4).update(3, losses={"cls": 0.5}, lr=0.1)
        running = progress_of(folder)
        assert (running["done"], running["total"], running["losses"]) == (3, 10, {"cls": 0.5})
        assert running["per_second"] > 0 and running["eta_seconds"] > 0
    assert progress_of(folder)["state"] == "done"
    with pytest.raises(ValueError), job_file(path, "train_classifier", None):
        raise ValueError
    assert progress_of(folder)["state"] == "failed"


def test_a_resumed_job_knows_the_time_of_the_processes_before(tmp_path):
    path, start = tmp_path / "progress" / "log.json", time.time()
    for expected in (0.0, 0.05):
        with pytest.raises(ValueError), job_file(path, "segment", None) as before:
            assert expected <= before <= time.time() - start
            time.sleep(0.05)
            raise ValueError
    with job_file(path, "segment", None) as before:
        assert before >= 0.1
    with job_file(path, "segment", None) as before:
        assert before == 0.0  # done: the next process begins again


def test_jobs_of_a_step_are_added_up_and_named_by_their_run(tmp_path):
    folder = tmp_path / "stages" / "infer_cam" / ("ab" * 8)
    run_job(folder, 10, 10, "train-0-of-2")
    run_job(folder, 12, 6, "train-1-of-2", losses={"cls": 0.5, "er": 0.25}, accuracy=9.0)
    (tmp_path / "myrun").mkdir()
    (tmp_path / "myrun" / "infer_cam").symlink_to(folder)
    (step,) = read_status(tmp_path)
    assert len(step.jobs) == 2 and step.names == ["myrun/infer_cam"] and step.state == "done"
    shown = text(tmp_path)
    assert "16/22 images" in shown and "myrun" in shown and "train-1-of-2.txt" in shown
    assert " 0.75 " in shown  # the loss is the sum of its terms, and of nothing else


def test_a_killed_process_is_seen(tmp_path):
    folder = tmp_path / "stages" / "segment" / ("cd" * 8)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom wsss.runtime.progress import Progress, job_file\n"
        "with job_file(Path(sys.argv[1]), 'segment', None):\n"
        "    Progress(10, 'images').update(4)\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder / "progress" / "log.json")], check=False)
    (step,) = read_status(tmp_path)
    assert step.state == "died" and "died" in text(tmp_path) and "4/10" in text(tmp_path)


def test_a_silent_job_of_another_machine_is_taken_for_dead(tmp_path):
    folder = tmp_path / "stages" / "segment" / ("ef" * 8)
    run_job(folder, 10, 4)
    path = folder / "progress" / "log.json"
    content = json.loads(path.read_text()) | {"state": "running", "host": "elsewhere"}
    path.write_text(json.dumps(content))
    assert read_status(tmp_path)[0].state == "running"
    path.write_text(json.dumps(content | {"updated": content["updated"] - 3600}))
    assert read_status(tmp_path)[0].state == "died"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "x", []])
@pytest.mark.parametrize("key", ["done", "eta_seconds", "per_second", "updated", "started", "gpu_mib"])
def test_a_job_whose_numbers_are_none_is_left_out(tmp_path, key, value):
    folder = tmp_path / "stages" / "segment" / ("ab" * 8)
    run_job(folder, 10, 4)
    path = folder / "progress" / "log.json"
    path.write_text(json.dumps(progress_of(folder) | {"state": "running", key: value}))
    assert "No stage has begun" in text(tmp_path)
    path.write_text(json.dumps(progress_of(folder) | {key: 1, "losses": {"cls": float("nan")}}))
    assert "segment" in text(tmp_path)


def test_nothing_yet_says_what_to_do(tmp_path):
    results = tmp_path / "results"
    assert "start one with: wsss run" in text(results)
    (tmp_path / "birds.yaml").write_text("runs: {birds: {preset: shapes}}")
    (tmp_path / "other.yaml").write_text("a: b")
    package = f"--snakefile {WORKFLOW}/Snakefile"
    assert f"snakemake --cores all {package} --configfile birds.yaml -- results/birds/miou.csv" in text(results)
    (tmp_path / "Snakefile").touch()
    assert making(results / "new") == "snakemake --cores all -- results/new/miou.csv"


def test_eighty_columns_are_enough(tmp_path):
    labels = ("choose_threshold-refined", "train_segmentation-upper_bound", "make_pseudo_labels-cam_crf")
    for i, label in enumerate(labels):
        folder = tmp_path / "results" / "stages" / label.split("-")[0] / (f"{i}a" * 8)
        run_job(folder, 12345, 12000 + i)
        for run in ("birds", "photographs"):
            (tmp_path / "results" / run).mkdir(exist_ok=True)
            (tmp_path / "results" / run / label).symlink_to(folder)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(tmp_path / "results", 80))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    for word in ("choose_threshold-refined", "train_segmentation", "birds", "photographs", "12000/12345", "took"):
        assert word in shown, shown


def test_markup_in_names_is_text(tmp_path):
    folder = tmp_path / "stages" / "segment" / ("aa" * 8)
    run_job(folder, 2, 1)
    (tmp_path / "[red]x").mkdir()
    (tmp_path / "[red]x" / "segment").symlink_to(folder)
    assert "[red]x" in text(tmp_path)
