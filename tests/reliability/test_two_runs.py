"""Two commands in one folder: the second says so, and what it leaves alone is whole."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time

import pytest

from tiny import ROOT, TINY, Project, environment
from wsss.plan.run import plan_runs
from wsss.store.maps import open_labels

WRITE = """
import sys, numpy as np
from wsss.store.writers import LabelWriter
with LabelWriter(sys.argv[1], class_names=["background"], palette=np.zeros((1, 3), np.uint8), resume="same") as out:
    for i in range(200):
        if str(i) not in out:
            out.add(str(i), np.full((9, 9), 255 * (i % 2), np.uint8))
"""


@pytest.mark.timeout(300)
def test_a_second_snakemake_says_that_the_first_still_runs(tmp_path):
    run = TINY | {"prepare_data": {"dataset": "shapes", "train": 400, "val": 8}}
    project = Project(tmp_path, run)
    folder = plan_runs({"runs": {"tiny": run}}, ROOT / "workflow" / "presets")["tiny"].steps[0].folder
    command = project.command(target=f"{folder}/index.csv")
    first = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / folder).glob("progress/*.json")):
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGSTOP)  # it holds its lock until it is let go on, however fast its job ends
    second = project.snakemake(target=f"{folder}/index.csv")
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1 and "cannot be locked" in second.stderr and "other Snakemake process" in second.stderr
    assert first.wait() == 0 and (tmp_path / folder / "index.csv").is_file()


def test_two_writers_of_one_file_take_turns(tmp_path):
    path = tmp_path / "x.h5"
    processes = [subprocess.Popen([sys.executable, "-c", WRITE, str(path)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    with open_labels(path) as store:
        assert list(store) == [str(i) for i in range(200)]
        assert all((store[str(i)] == 255 * (i % 2)).all() for i in range(200))
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]


def test_a_state_folder_that_an_orphan_holds_is_waited_for(tmp_path, caplog):
    from threading import Timer

    from wsss.training.loop import state_lock

    with (tmp_path / "lock").open("w") as orphan:
        orphan.write("4711")
        orphan.flush()
        fcntl.flock(orphan, fcntl.LOCK_EX)
        Timer(0.3, lambda: fcntl.flock(orphan, fcntl.LOCK_UN)).start()
        start = time.monotonic()
        with caplog.at_level("INFO", "wsss"), state_lock(tmp_path):
            assert time.monotonic() - start > 0.25
    assert "waits for process 4711" in caplog.text
