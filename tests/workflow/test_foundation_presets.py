"""Every whole preset on a foundation model, with tiny networks, from images to miou.csv and the report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from jobs import Jobs
from tiny_systems import foundation_runs

pytestmark = pytest.mark.timeout(600)

ROWS = {
    "clip-es": {"cam-train", "pseudo_label-train", "segmentation-val"},
    "clip-es-coco": {"cam-train", "pseudo_label-train", "segmentation-val"},
    "sam-fma": {"cam-train", "pseudo_label-train", "segmentation-val"},
    "dino-propagation": {"cam-train", "refined-train", "pseudo_label-train", "segmentation-val"},
    "weclip": {"cam-train", "pseudo_label-train", "end_to_end-val", "end_to_end_crf-val"},
    "weclip-coco": {"cam-train", "pseudo_label-train", "end_to_end-val", "end_to_end_crf-val"},
    "weclip-plus": {"cam-train", "pseudo_label-train", "end_to_end-val", "end_to_end_crf-val"},
}
TARGETS = [f"results/{name}/{file}" for name in ROWS for file in ("miou.csv", "report.html")]


def jobs_of(folder: Path, shards: int) -> Jobs:
    """Every run in one project."""
    (folder / "data").mkdir(parents=True)
    execution = {"shards": shards, "device": "cpu", "workers": 0}
    config = {"runs": foundation_runs(folder / "data"), "execution": execution}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Jobs(folder, TARGETS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return jobs_of(tmp_path_factory.mktemp("foundation"), shards=1)


@pytest.mark.parametrize("name", ROWS)
def test_a_preset_runs_from_images_to_the_report(name, runs):
    page = runs.make(f"results/{name}/report.html")
    table = pd.read_csv(page.with_name("miou.csv"))
    assert set(table["stage"] + "-" + table["split"]) >= ROWS[name] and table["miou"].between(0, 100).all()
    assert name in page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("shards", [3, 8])
def test_other_numbers_of_shards_change_no_result(shards, runs, tmp_path):
    other = jobs_of(tmp_path / "other", shards)
    for rule in {job.rule for job in runs.jobs if "_shard" in job.rule}:
        one = [job for job in runs.jobs if job.rule == rule]
        whole = sum("infer_cam" in rule and "--features" in job.command for job in one)  # not worth a second job
        assert sum(job.rule == rule for job in other.jobs) == shards * (len(one) - whole) + whole
    for name in ROWS:
        table = f"results/{name}/miou.csv"
        assert other.make(table).read_bytes() == runs.make(table).read_bytes(), name
