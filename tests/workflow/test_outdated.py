"""A table of other inputs than planned is made again, whatever Snakemake remembers of it, and nothing without need."""

from __future__ import annotations

import re
import shutil

from jobs import Jobs
from small_data import make_folder
from tiny import TINY, Project
from wsss.plan.notes import note


def test_a_table_of_other_inputs_is_made_again_also_in_a_copy_of_the_results(tmp_path):
    project = Project(tmp_path, TINY)
    project.table.parent.mkdir(parents=True)
    project.table.write_text("stage,split\n")
    note(project.table, "0" * 16)
    planned = project.snakemake("--dry-run")
    text = planned.stdout + planned.stderr
    assert planned.returncode == 0 and re.search(r"^collect +1$", text, re.MULTILINE), text[-2000:]


def test_moved_photographs_and_added_masks_are_prepared_and_measured_and_nothing_else(tmp_path):
    data = make_folder(tmp_path / "data")
    masks = data.pop("masks")
    run = TINY | {"prepare_data": data, "choose_threshold": "auto", "train_segmentation": None}
    project = Project(tmp_path, run)
    for job in Jobs(tmp_path, ["results/tiny/miou.csv"]).jobs:  # each is finished
        for output in job.outputs:
            if "/shards/" not in output:
                (tmp_path / output).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / output).touch()
    shutil.copytree(tmp_path / "data" / "photos", tmp_path / "moved")
    project.configure(run | {"prepare_data": data | {"images": str(tmp_path / "moved"), "masks": masks}})
    again = {job.rule for job in Jobs(tmp_path, ["results/tiny/miou.csv"]).jobs}
    cam_crf = {"merge", "make_pseudo_labels_shard"}  # which only runs with masks have
    assert again == {"prepare_data", "check_networks", "check_data", "evaluate", "collect"} | cam_crf
