"""Every published system from images to miou.csv by its whole preset, on tiny data.

Scaled are step counts, crops, batches and images, and networks whose published ones do not train in seconds. One step
of the published size (network, crop, batch) is, in 10¹² operations: SEAM 21, PSA's classifier 38, IRN's 3.1, AFA 0.95,
ToCo 9.4, ACR 0.8, WeCLIP 0.5; one core computes about 0.04 a second. `tests/plan/test_presets.py` builds every
published network at its full size and gives it a batch, without memory.
"""

from __future__ import annotations

import pandas as pd
import pytest

from tiny import Project
from tiny_systems import EXTRA, SCALED, run_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = {
    "seam": {"cam-train", "cam_crf-train", "refined-train", "segmentation_crf-val"},
    "psa": {"cam-train", "cam-val", "refined-train", "segmentation_crf-val"},
    "irn": {"cam-train", "refined-train", "segmentation_crf-val"},
    "afa": {"cam-train", "end_to_end_crf-val"},
    "toco": {"cam-train", "end_to_end-val", "end_to_end_crf-val"},
    "acr": {"cam-train", "refined-train", "segmentation_crf-val"},
    "weclip": {"cam-train", "pseudo_label-train", "end_to_end-val", "end_to_end_crf-val"},
}


@pytest.mark.parametrize("name", [*SCALED, *EXTRA])
def test_a_system_runs_from_images_to_the_table(name, tmp_path):
    project = Project(tmp_path, run_of(name, tmp_path / "data"), shards=1)
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-500:]
    table = pd.read_csv(project.table)
    rows = set(table["stage"] + "-" + table["split"])
    assert rows >= ROWS[EXTRA.get(name, name)] and table["miou"].between(0, 100).all()
    history = pd.read_csv(tmp_path / "results/tiny/train_classifier/history.csv")
    assert len(history) == 3 if name in ("afa", "acr") else len(history) > 2
