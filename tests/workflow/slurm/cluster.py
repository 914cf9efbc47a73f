"""A real Slurm on this machine: slurmctld and two slurmd, each a node with two pretended GPUs."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = Path("/etc/slurm")  # job steps drop SLURM_CONF, so it has to be this one
NAME = "ClusterName=wsss-test"
SLURM_CONF = """
{name}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort=16817
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
MinJobAge=3600
KillWait=10
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port=16818 CPUs=16 RealMemory=96000 Gres=gpu:2
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port=16819 CPUs=16 RealMemory=96000 Gres=gpu:2
PartitionName=gpu Nodes=node1,node2 Default=YES State=UP
"""
GRES_CONF = """
NodeName=node1 Name=gpu File={folder}/dev/nvidia[0-1]
NodeName=node2 Name=gpu File={folder}/dev/nvidia[2-3]
"""


def why_not() -> str | None:
    """What keeps this machine from running a Slurm of its own, if anything."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client slurm-wlm-basic-plugins"
    if os.geteuid() != 0:
        return "only root can start slurmd and write /etc/slurm"
    file = CONFIG / "slurm.conf"
    if file.exists() and NAME not in file.read_text():
        return f"{file} belongs to another cluster"
    return None


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Both nodes are idle inside; afterwards the machine is as before."""
    for name in ("state", "run", "log", "dev", "spool/node1", "spool/node2"):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        os.mknod(folder / "dev" / f"nvidia{number}", 0o20666, os.makedev(1, 3))
    CONFIG.mkdir(exist_ok=True)
    files = {"slurm.conf": SLURM_CONF, "gres.conf": GRES_CONF}
    for name, text in files.items():
        (CONFIG / name).write_text(text.format(name=NAME, host=platform.node(), folder=folder))
    try:
        for command in (["slurmctld"], ["slurmd", "-N", "node1"], ["slurmd", "-N", "node2"]):
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        wait_for_idle_nodes(folder)
        yield
    finally:
        stop(folder)
        for name in files:
            (CONFIG / name).unlink(missing_ok=True)


def stop(folder: Path) -> None:
    """Cancels what runs, then ends the daemons."""
    ask("scancel", "--user", "root")
    wait_until(lambda: not ask("squeue", "--noheader").strip(), 60)
    pids = [int(file.read_text()) for file in (folder / "run").glob("*.pid")]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in filter(alive, pids):
            os.kill(pid, number)
        wait_until(lambda: not any(map(alive, pids)), 20)


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return met


def wait_for_idle_nodes(folder: Path) -> None:
    """Raises with the controller's log if the nodes do not come up."""
    states = lambda: ask("sinfo", "--noheader", "--Node", "--format", "%T").split()  # noqa: E731
    if not wait_until(lambda: states() == ["idle", "idle"], 120):
        raise AssertionError(f"nodes are {states()}: {(folder / 'log/slurmctld.log').read_text()[-2000:]}")


def ask(*command: str) -> str:
    """What a Slurm command prints."""
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120).stdout
