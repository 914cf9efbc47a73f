"""Names that a shell would run or split, all through the workflow: they are data, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from small_data import picture
from tiny import ROOT, TINY, Project
from wsss.config.loading import ConfigError, load_execution
from wsss.data.dataset import Dataset
from wsss.plan.run import plan_runs

FOLDER = 'it\'s a "test" $(touch pwned)'
IMAGES = [
    "a;touch pwned;",
    "$(touch pwned)",
    "`touch pwned`",
    "-rf",
    'it\'s "q"',
    "new {wildcards.key}",
    "ü & |",
    "%s\\n",
]
CLASSES = ["it's", "$(touch pwned)"]


def make_run(root: Path) -> dict:
    """Photographs under such names, labelled with such classes; the settings of a short run."""
    photos = root / FOLDER
    photos.mkdir(parents=True)
    rows = ["image,labels,split"]
    for number, name in enumerate(IMAGES):
        picture(number, (40, 48)).save(photos / f"{name}.png")
        quoted = name.replace('"', '""')
        rows.append(f'"{quoted}.png","{CLASSES[number % 2]},",{"val" if number > 5 else "train"}')
    (photos / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {
        "preset": "shapes",
        "prepare_data": {"dataset": "folder", "images": str(photos), "labels": str(photos / "labels.csv")},
        "train_classifier": {"training": {"epochs": 1, "batch_size": 2}},
        "infer_cam": {"scales": [1.0]},
        "choose_threshold": 0.3,
        "upper_bound": False,
        "train_affinity": None,
        "refine_cam": None,
        "train_segmentation": None,
    }


def assert_harmless(root: Path) -> None:
    assert not list(root.rglob("pwned")) and not (ROOT / "pwned").exists() and not Path("pwned").exists()


def test_a_folder_is_prepared_under_any_name(tmp_path):
    run = make_run(tmp_path)
    project = Project(tmp_path / FOLDER / "project", run)
    folder = plan_runs({"runs": {"tiny": run}}, ROOT / "workflow" / "presets")["tiny"].steps[0].folder
    done = project.snakemake(target=f"{folder}/index.csv")
    assert done.returncode == 0, done.stderr[-2000:]
    dataset = Dataset(project.folder / folder)
    assert sorted(record.image_id for record in dataset.records) == sorted(IMAGES)
    assert sorted(dataset.class_names[1:]) == sorted(CLASSES)
    assert_harmless(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_workflow_runs_under_any_name(tmp_path):
    project = Project(tmp_path / FOLDER / "project", make_run(tmp_path))
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(pd.read_csv(project.table)["stage"]) == []  # no masks, nothing to measure
    assert (project.folder / "results/tiny/make_pseudo_labels/train.h5").is_file()
    assert_harmless(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        "runs: {'a;touch pwned': {preset: shapes}}",
        "runs: {../x: {preset: shapes}}",
        "runs: {$(touch pwned): {preset: shapes}}",
        "runs: {tiny: {preset: ../../shapes}}",
        "{runs: {tiny: {preset: shapes}}, execution: {device: 'cpu; touch pwned'}}",
    ],
)
def test_such_run_names_and_settings_are_refused(config):
    with pytest.raises(ConfigError):
        load_execution(yaml.safe_load(config))
        plan_runs(yaml.safe_load(config))


@pytest.mark.parametrize(
    "config",
    ["runs: {$(touch pwned): {preset: shapes}}", 'runs: !!python/object/apply:os.system ["touch pwned"]'],
)
def test_run_names_and_settings_are_never_code(config, tmp_path):
    project = Project(tmp_path, TINY)
    (tmp_path / "config.yaml").write_text(config)
    refused = project.snakemake(target="results/tiny/miou.csv")
    assert refused.returncode == 1
    assert_harmless(tmp_path)


def test_rules_quote_whatever_they_put_into_a_command():
    free = {"threads", "START", "LAUNCHER", "TRAINING_FLAGS", "flag"}
    options = {
        "params.threshold",
        "params.options",
        "params.labels",
        "params.affinity",
        "params.features",
    }  # made by option() and folder_option(), which quote
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for command in re.findall(r"shell:\n((?:        .*\n?)+)", path.read_text()):
            found = set(re.findall(r"\{([\w.]+)\}", command)) - free - options
            assert not found, f"{path.name}: {found} without :q"
