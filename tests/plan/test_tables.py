"""A paper's table expands to runs that share what is equal, and is filled from their results."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from wsss.config.loading import ConfigError
from wsss.plan.checks import Check
from wsss.plan.tables import checked_plans, plan_tables


@pytest.fixture(scope="module")
def planned():
    return plan_tables({"tables": {"seam": {"preset": ["shapes", "shapes-seam"]}}})["seam"]


def step(item, stage):
    return next(step for step in item.plan.steps if step.stage == stage)


def test_seam_has_five_tables_and_a_figure(planned):
    counts = pd.Series([item.entry.table for item in planned]).value_counts()
    assert dict(counts) == {
        "Table 1": 6,
        "Table 2": 3,
        "Table 3": 4,
        "Table 4": 4,
        "Table 5": 5,
        "Figure 6": 10,
    }


def test_each_classifier_is_checked_before_the_table_is_computed(planned):
    checks = [Check.of(plan, 1) for plan in checked_plans(planned)]
    assert len({check.digest for check in checks}) == 9 and {check.where for check in checks} == {"tables.seam"}


def test_nine_classifiers_serve_all_entries(planned):
    assert len({step(item, "train_classifier").key for item in planned}) == 9
    assert len({step(item, "prepare_data").key for item in planned}) == 1


@pytest.mark.parametrize(
    ("table", "name", "stage", "setting", "value"),
    [
        ("Table 1", "baseline", "train_classifier", "pcm", False),
        ("Table 1", "+ ER + PCM", "train_classifier", "ohem", None),
        ("Table 3", "rescale + rotation", "train_classifier", "rotation", 20),
        ("Table 2", "gradcam++", "infer_cam", "localiser", "gradcam++"),
        ("Table 5", "scale 1.5", "infer_cam", "scales", [1.5]),
    ],
)
def test_entries_change_what_they_say(planned, table, name, stage, setting, value):
    item = next(i for i in planned if (i.entry.table, i.entry.name) == (table, name))
    config = step(item, stage).config
    assert config.get("method", config).get(setting) == value


def test_no_entry_trains_beyond_the_seeds(planned):
    stages = {s.stage for item in planned for s in item.plan.steps}
    assert not stages & {"train_affinity", "train_segmentation", "segment"}


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"saem": {}}, r"tables\.saem: no such table; did you mean 'seam'"),
        (["seam"], "tables: a mapping of tables to settings is needed"),
        ({"seam": "shapes"}, r"tables\.seam: a mapping of settings is needed"),
        ({"seam": {"preset": "shaeps"}}, r"tables\.seam\.preset: no preset 'shaeps'; did you mean"),
        ({"seam": {"preset": "shapes", "infer": 1}}, r"tables\.seam\.infer: unknown key"),
        ({"seam": {"preset": "shapes"}}, r"tables\.seam: train_classifier\.method\.name is cam"),
    ],
)
def test_a_mistake_is_one_line(tables, line):
    with pytest.raises(ConfigError, match=line):
        plan_tables({"tables": tables})


def test_measured_stands_beside_published(tmp_path):
    rows = {"stage": ["cam", "cam", "cam_crf"], "split": ["val", "train", "train"], "miou": [1.0, 50.0, 60.0]}
    constant = {"threshold": 0.2, "m_fn": 0.4, "m_fp": 0.5, "images": 9}
    pd.DataFrame(rows).assign(**constant).to_csv(tmp_path / "miou.csv", index=False)
    named = [("Table 1", "a", "cam", 47.4), ("Table 1", "b", "cam_crf", None), ("Figure 6", "CAM 0.5", "cam", None)]
    keys = ("table", "entry", "stage", "published")
    entries = [dict(zip(keys, entry, strict=True), miou=str(tmp_path / "miou.csv")) for entry in named]
    table, figure = tmp_path / "seam.csv", tmp_path / "seam-scales.csv"
    command = ["-m", "wsss.stages.make_table", "--entries", json.dumps(entries), "--table", table, "--figure", figure]
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=True)
    frame = pd.read_csv(table)
    assert frame["measured"].tolist() == [50.0, 60.0] and frame["published"].tolist()[0] == 47.4
    assert pd.read_csv(figure)["m_fn"].tolist() == [0.4] and figure.with_suffix(".png").stat().st_size > 1000
    assert "47.40" in done.stderr
