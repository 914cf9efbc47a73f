"""The tiny workflow on a real Slurm, with the profile that is shipped."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from cluster import ask

from tiny import ROOT, TINY, Project, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

RUN = TINY | {
    "train_classifier": {"training": {"epochs": 12, "batch_size": 8}},
    "train_affinity": None,
    "refine_cam": None,
    "train_segmentation": None,
}
QUICK = (
    *("--slurm-status-command", "squeue"),  # sacct hangs where there is no accounting
    *("--slurm-init-seconds-before-status-checks", "1"),
    *("--seconds-between-status-checks", "2"),
    *("--latency-wait", "5"),
    "--slurm-keep-successful-logs",
)


def command(project: Project) -> list[str]:
    profile = ("--workflow-profile", str(ROOT / "workflow/profiles/slurm"))
    return project.command(*profile, *QUICK)


def jobs() -> list[dict[str, str]]:
    """Slurm's records of all jobs, finished ones included."""
    blocks = ask("scontrol", "show", "jobs").split("\n\n")
    return [dict(re.findall(r"(\w+)=(\S*)", block)) for block in blocks if "JobId=" in block]


def of_rule(rule: str) -> list[dict[str, str]]:
    """Jobs of a rule, oldest first."""
    found = [job for job in jobs() if re.match(rf"(rule_)?{rule}(_|$)", job.get("Comment", ""))]
    return sorted(found, key=lambda job: int(job["JobId"]))


def wait_for_training(project: Project, process: subprocess.Popen) -> str:
    """The id of the classifier's job once it has written a checkpoint and has steps left."""
    deadline = time.monotonic() + 1200
    while time.monotonic() < deadline:
        assert process.poll() is None, "snakemake ended before the training could be cancelled"
        states = list(project.folder.glob("results/stages/train_classifier/*/state/state.pt"))
        if states and not (states[0].parents[1] / "model.safetensors").exists():
            return of_rule("train_classifier")[-1]["JobId"]
        time.sleep(0.05)
    raise AssertionError("the classifier wrote no checkpoint")


def at_once(first: dict[str, str], second: dict[str, str]) -> bool:
    """Whether two jobs overlapped on different nodes (times are text in ISO order)."""
    overlap = first["StartTime"] < second["EndTime"] and second["StartTime"] < first["EndTime"]
    return overlap and first["NodeList"] != second["NodeList"]


def test_shards_share_two_nodes_and_a_cancelled_training_resumes(slurm, tmp_path):
    project = Project(tmp_path / "slurm", RUN, shards=2, device="cpu")
    output = tmp_path / "snakemake.txt"
    with output.open("w") as file:
        process = subprocess.Popen(command(project), env=environment(), stdout=file, stderr=file)
        try:
            cancelled = wait_for_training(project, process)
            ask("scancel", cancelled)
            status = process.wait(timeout=2400)
        finally:
            process.kill()
            process.wait()
    assert status == 0, output.read_text()[-3000:]

    states = [(job["JobId"] == cancelled, job["JobState"]) for job in of_rule("train_classifier")]
    assert states == [(True, "CANCELLED"), (False, "COMPLETED")]
    (log,) = project.folder.glob("results/stages/train_classifier/*/log.txt")
    assert re.search(r"resumes at step \d+ of 36", log.read_text())

    shards = of_rule("infer_cam_shard")
    assert len(shards) == 4 and all(re.fullmatch("gres[:/]gpu:1", job["TresPerJob"]) for job in shards)
    assert any(at_once(a, b) for a in shards for b in shards)

    local = Project(tmp_path / "local", RUN, shards=2, device="cpu")
    model = next(project.folder.glob("results/stages/train_classifier/*/model.safetensors"))
    target = Path(model.relative_to(project.folder))
    assert local.snakemake(target=str(target)).returncode == 0
    assert (local.folder / target).read_bytes() == model.read_bytes()
