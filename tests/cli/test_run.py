"""`wsss run`: what it decides before Snakemake starts, how far it says it is, and one real run that is interrupted."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from servers import serving
from wsss.backbones.reach import answers
from wsss.cli.init import Request
from wsss.cli.launch import reason, work
from wsss.cli.run import WORDS, parts_to_do
from wsss.cli.settle import set_folder, settle_config
from wsss.cli.watch import BEGINNING, LAST, REPORT, Part, Watch, bar, rounded
from wsss.config.loading import PRESETS, WORKFLOW
from wsss.config.stages import SECTIONS
from wsss.data.sources.shapes.images import CLASS_NAMES, render
from wsss.plan.run import plan_runs
from wsss.runtime.labels import IGNORE
from wsss.runtime.progress import Progress, job_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """28 generated images below photos/, and labels.csv; the working directory is their folder."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    rows = ["image,labels"]
    for i in range(28):
        image, mask = render(7, i)
        Image.fromarray(image).save(f"photos/{i}.png")
        rows.append(f"{i}," + " ".join(CLASS_NAMES[c - 1] for c in np.unique(mask) if c not in (0, IGNORE)))
    Path("labels.csv").write_text("\n".join(rows))
    return tmp_path


def request(**changes):
    given = {"masks": None, "name": "photos", "preset": ["shapes"], "weights": None, "options": []} | changes
    return Request(Path("photos"), Path("labels.csv"), **given)


def test_the_package_brings_the_workflow():
    assert (WORKFLOW / "Snakefile").is_file() and (WORKFLOW / "rules" / "common.smk").is_file()
    assert (PRESETS / "photos.yaml").is_file()
    included = re.findall(r'include: f"\{WORKFLOW\}/rules/(\w+)\.smk"', (WORKFLOW / "Snakefile").read_text())
    assert sorted(included) == sorted(p.stem for p in (WORKFLOW / "rules").glob("*.smk"))


def test_a_configuration_that_is_there_is_kept_unless_it_is_of_other_data(own):
    quiet = Console(file=io.StringIO())
    target, sizes = settle_config(request(), quiet, force=False)
    assert sizes.shape == (28, 2) and target == Path("photos.yaml")
    edited = yaml.safe_load(target.read_text())
    edited["runs"]["photos"]["choose_threshold"] = 0.3
    target.write_text(yaml.safe_dump(edited))
    settle_config(request(), quiet, force=False)
    assert yaml.safe_load(target.read_text()) == edited
    (own / "link").symlink_to("photos")
    for images in ("link", str(own / "photos")):  # the same folder
        edited["runs"]["photos"]["prepare_data"]["images"] = images
        target.write_text(yaml.safe_dump(edited))
        settle_config(request(), quiet, force=False)
    edited["runs"]["photos"]["prepare_data"]["images"] = "others"
    target.write_text(yaml.safe_dump(edited))
    with pytest.raises(ValueError, match=r"photos\.yaml says images: others, the command photos"):
        settle_config(request(), quiet, force=False)
    settle_config(request(), quiet, force=True)
    assert yaml.safe_load(target.read_text())["runs"]["photos"]["choose_threshold"] == "masks"


def test_corrections_are_one_line_of_the_configuration(own):
    target, _ = settle_config(request(), Console(file=io.StringIO()), force=False)
    before = target.read_text()
    set_folder(target, "photos", "corrections", Path("mended"))
    assert plan_runs(yaml.safe_load(target.read_text()))["photos"].settings.corrections.masks.path == Path("mended")
    set_folder(target, "photos", "corrections", Path("{mended} \\"))
    set_folder(target, "photos", "corrections", Path("mended: 2"))
    lines = target.read_text().splitlines()
    assert [line for line in lines if line not in before] == ['    corrections: "mended: 2"']
    target.write_text("runs:\n  '2024':\n    preset: shapes\n")
    set_folder(target, "2024", "corrections", Path("mended"))
    target.write_text("runs: {photos: {preset: shapes}}")
    with pytest.raises(ValueError, match="write 'corrections: \"mended\"' into run 'photos' yourself"):
        set_folder(target, "photos", "corrections", Path("mended"))


def test_masks_are_added_by_one_line_of_the_configuration_and_stay(own):
    quiet = Console(file=io.StringIO())
    before = settle_config(request(), quiet, force=False)[0].read_text()
    for folder in ("some", "others"):
        Path(folder).mkdir()
        Image.fromarray(render(7, 0)[1]).save(f"{folder}/0.png")
    for masks in (Path("some"), None):
        target, _ = settle_config(request(masks=masks), quiet, force=False)
        assert [line for line in target.read_text().splitlines() if line not in before] == ['      masks: "some"']
    with pytest.raises(ValueError, match=r"photos\.yaml says masks: some, the command others"):
        settle_config(request(masks=Path("others")), quiet, force=False)
    for name in ("0", "1"):
        Image.fromarray(np.full((9, 9), 77, np.uint8)).save(f"others/{name}.png")
    told = Console(file=io.StringIO())
    with pytest.raises(ValueError, match=r"\d problem\(s\) to solve first: others/0\.png"):
        settle_config(request(masks=Path("others")), told, force=False)
    assert "problem: others/1.png: " in told.file.getvalue()


@pytest.mark.parametrize(
    ("preset", "jobs"),
    [("photos", {"infer_cam": 4, "segment": 2}), ("frozen", {"compute_features": 4, "infer_cam": 2, "refine_cam": 2})],
)
def test_every_step_is_to_do_at_first_and_has_a_time(own, preset, jobs):
    target, sizes = settle_config(request(preset=[preset]), Console(file=io.StringIO()), force=False)
    plan = plan_runs(yaml.safe_load(target.read_text()))["photos"]
    parts = parts_to_do(plan, sizes, shards=2, cores=2)
    assert [part.step for part in parts] == list(plan.steps)
    assert all(part.seconds > 0 for part in parts)
    assert jobs.items() <= {part.step.stage: part.jobs for part in parts}.items()


def test_every_stage_has_words_in_the_bar():
    assert set(WORDS) == set(SECTIONS)


def test_the_bar_counts_what_the_progress_files_tell(tmp_path):
    steps = [SimpleNamespace(folder=tmp_path / name, label=name) for name in ("a", "b")]
    watch = Watch([Part(steps[0], 30.0, 1), Part(steps[1], 60.0, 2)])
    whole = BEGINNING + 90 + REPORT
    assert watch.look()[0] == 0 and watch.look()[1] == pytest.approx(whole)
    with job_file(tmp_path / "a" / "progress" / "log.json", "a", None):
        Progress(10, "steps").update(5)
        share, left, running = watch.look()
        assert share == pytest.approx((BEGINNING + 15) / whole) and running == ["a"] and left < whole
    with job_file(tmp_path / "b" / "progress" / "train-0-of-2.json", "b", None):
        pass
    assert watch.look()[0] == pytest.approx((BEGINNING + 60) / whole)  # a is done, and one of b's two jobs
    with job_file(tmp_path / "b" / "progress" / "train-1-of-2.json", "b", None):
        pass
    assert watch.look()[2] == [LAST]


@pytest.mark.parametrize("stage", WORDS)
def test_the_bar_fits_eighty_columns_and_cuts_no_word(stage):
    screen = io.StringIO()
    console = Console(width=80, file=screen, force_terminal=True, color_system=None)
    with bar(console, SimpleNamespace(look=lambda: (0.5, 37000.0, [stage])), WORDS) as show:
        show()
    assert re.search(rf"{WORDS[stage]} +[━ ]{{20}}  50% about 10 h 20 min left", screen.getvalue())


@pytest.mark.parametrize(("seconds", "text"), [(3, "5 s"), (61, "1 min"), (905, "15 min"), (8000, "2 h 10 min")])
def test_a_guess_of_a_time_is_round(seconds, text):
    assert rounded(seconds) == text


@pytest.mark.parametrize(
    ("log", "text"),
    [
        ("a\n[segment] error: no room\nWorkflowError\n", "[segment] error: no room"),
        ("LockException:\nError: Directory cannot be locked.\n", "give --unlock once"),
        (
            "Command 'python -m wsss.stages.quality --config x' died with <Signals.SIGKILL: 9>.\nWorkflowError:\n"
            "At least one job did not complete.\n",
            r"[quality] was ended by SIGKILL, as when memory runs out",
        ),
        ("", "it said nothing"),
    ],
)
def test_why_it_ended_is_one_line(tmp_path, log, text):
    (tmp_path / "run.log").write_text(log)
    assert text in reason(tmp_path / "run.log")


def test_without_a_connection_there_is_one_line_in_time(own):
    place = {"HF_ENDPOINT": "https://nowhere.invalid", "HF_HOME": str(own / "cache"), "no_proxy": "*"}
    given = [sys.executable, "-m", "wsss.cli.run", "photos", "--labels", "labels.csv", "--preset", "photos"]
    done = subprocess.run(given, capture_output=True, text=True, env=os.environ | place, check=False, timeout=60)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "no connection to https://nowhere.invalid" in line and "--weights" in line and "wsss[offline]" in line


def test_any_command_that_would_download_says_so_in_time(monkeypatch):
    from wsss.backbones import reach
    from wsss.backbones.timm import create_network

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(reach, "ANSWER_SECONDS", 0.5)
    with pytest.raises(ValueError, match=r"no connection to .* 'resnet18' .*--weights.*wsss\[offline\]"):
        create_network("resnet18", {}, pretrained=True, checkpoint_path="")


def test_an_address_answers_in_time_or_not():
    with serving({}) as server:
        assert answers(server.url, 4.0)
    assert not answers("http://127.0.0.1:9", 4.0)


def command() -> list[str]:
    return [sys.executable, "-m", "wsss.cli.run", "photos", "--labels", "labels.csv", "--preset", "shapes"]


WAITS = """import signal, sys, time
def end(*_): print("interrupted", flush=True); sys.exit()
signal.signal(signal.SIGINT, end)
print("begun", flush=True)
time.sleep(60)"""


def test_what_the_command_started_is_interrupted_where_it_is_killed(tmp_path):
    log = tmp_path / "log"
    code = "import sys; from pathlib import Path; from wsss.cli.launch import work; "
    code += "work([sys.executable, '-c', sys.argv[1]], Path(sys.argv[2]), lambda: None)"
    process = subprocess.Popen([sys.executable, "-c", code, WAITS, str(log)])
    for told in ("begun", "interrupted"):
        end = time.monotonic() + 30
        while not (log.is_file() and told in log.read_text()):
            assert time.monotonic() < end, told
            time.sleep(0.05)
        if told == "begun":
            with pytest.raises(ValueError, match="another command is making this run"):
                work(["true"], log, lambda: None)
            assert told in log.read_text()
        process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_interrupted_run_goes_on_and_ends_with_three_things(own):
    target, _ = settle_config(request(), Console(file=io.StringIO()), force=False)
    config = yaml.safe_load(target.read_text())
    for stage in ("train_classifier", "train_affinity", "train_segmentation"):
        config["runs"]["photos"][stage] = {"training": {"epochs": 2, "batch_size": 8}}
    target.write_text(yaml.safe_dump(config | {"execution": {"shards": 1, "device": "cpu"}}))
    process = subprocess.Popen(command(), stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "80"})
    while not list(own.glob("results/stages/train_classifier/*/progress/*.json")):
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=90)[1]
    assert process.returncode == 130 and told.splitlines()[-1].startswith("[run] stopped")
    assert "Traceback" not in told and "Error" not in told
    done = subprocess.run(command(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for line in (
        "report         results/photos/report.html",
        "pseudo-labels  results/photos/pseudo-labels",
        "wsss predict",
    ):
        assert line in done.stderr
    assert len(list(own.glob("results/photos/pseudo-labels/*.png"))) > 20
    assert json.loads((own / "results/photos/run.json").read_text())["run"] == "photos"
