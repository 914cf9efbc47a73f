"""A table made of other inputs than planned is made again, whatever Snakemake remembers of it."""

from __future__ import annotations

import re

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
