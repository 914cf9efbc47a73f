"""`wsss show` on a terminal of eighty columns."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest
from rich.console import Console

from wsss.cli.show import show


def test_the_table_fits_eighty_columns_and_cuts_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results" / "photos"
    (run / "evaluate").mkdir(parents=True)
    (run / "evaluate" / "summary.json").write_text(json.dumps({"share_of_upper_bound": 81.5}))
    rows = [
        {"stage": name, "split": split, "threshold": 0.26, "threshold_source": "oracle", "miou": 100.0, "m_fn": 0.123}
        | {"m_fp": 0.456, "pixel_accuracy": 100.0, "images": 10582}
        for name, split in (("cam_crf", "train"), ("segmentation_crf", "val"), ("upper_bound_crf", "val"))
    ]
    pd.DataFrame(rows).to_csv(run / "miou.csv", index=False)
    console = Console(width=80, record=True, file=io.StringIO())
    show(run.relative_to(tmp_path), console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)
    assert any("segmentation_crf" in line and "0.26 (oracle)" in line and "10582" in line for line in lines)
    pd.DataFrame(columns=list(rows[0])).to_csv(run / "miou.csv", index=False)
    (run / "train_classifier").mkdir()
    scores = "class,images,average_precision\ncat,2,90.00\nmean,3,90.00\n"
    (run / "train_classifier" / "average_precision.csv").write_text(scores)
    show(run.relative_to(tmp_path), console)
    empty, precision, *_ = console.export_text().splitlines()
    assert empty == "results/photos/miou.csv has no rows: there are no masks to measure with"
    assert precision == "mean average precision of the classifier on the 3 images of val: 90.0 %"


def test_a_run_without_a_table_is_told_how_to_get_one(tmp_path):
    (tmp_path / "birds.yaml").write_text("runs: {birds: {}}")
    with pytest.raises(ValueError, match=r"--configfile birds\.yaml -- results/birds/miou\.csv"):
        show(tmp_path / "results" / "birds", Console(file=io.StringIO()))
