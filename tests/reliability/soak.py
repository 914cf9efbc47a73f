"""Kills a tiny run again and again, at random moments of every stage, and looks whether its results are still the same.

A trial takes a finished run, deletes what one stage made, lets Snakemake make it again, sends a signal to the job or to
Snakemake, and repeats the command: after Snakemake itself was killed, with `--unlock` before it. Every file of the
stage must then be what it was. `python tests/reliability/soak.py --kills 100` prints a table. Trials have
folders of their own, so that some can run side by side.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny import TINY, Project, environment

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
VICTIMS = ("job", "snakemake")
TABLES = {
    "prepare_data": ["index.csv"],
    "choose_threshold": ["threshold.json"],
    "quality": ["quality.csv"],
    "evaluate": ["miou.csv"],
}
COLLECT = "collect"
RECORDS = ("log.txt", "logs", "timing", "progress", "state", "versions.json", "collect.log")
"""Differ from run to run: times, process ids, checkpoints."""
START_SECONDS = 1.5
"""Before a stage's own clock runs: Python and imports."""


@dataclass(frozen=True)
class Kill:
    """What is sent to whom, and when: `moment` is a share of the stage's own time."""

    stage: str
    victim: str
    signal: signal.Signals
    moment: float


@dataclass(frozen=True)
class Outcome:
    """How a trial ended; `problem` is empty if every file is what it was."""

    kill: Kill
    hit: str
    seconds: float
    problem: str


def finished_run(folder: Path) -> Project:
    """The undisturbed run."""
    project = Project(folder, TINY)
    done = project.snakemake()
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return project


def steps(folder: Path) -> dict[str, list[Path]]:
    """The folders of each stage that the run links to."""
    found: dict[str, list[Path]] = {}
    for link in sorted((folder / "results/tiny").iterdir()):
        if link.is_symlink():
            found.setdefault(link.resolve().parent.name, []).append(link.resolve())
    return found


def stages(project: Project) -> list[str]:
    return [*sorted(steps(project.folder)), COLLECT]


def draw_kills(names: list[str], seed: int) -> Iterator[Kill]:
    """Endless; every stage once in each round, and all signals to both victims in six rounds."""
    rng = random.Random(seed)
    pairs = list(itertools.product(VICTIMS, SIGNALS))
    orders = {name: rng.sample(pairs, len(pairs)) for name in names}
    for number in itertools.count():
        for name in rng.sample(names, len(names)):
            victim, which = orders[name][number % len(pairs)]
            yield Kill(name, victim, which, rng.random())


def try_kill(source: Project, kill: Kill, folder: Path) -> Outcome:
    """One trial in a copy of the finished run; the copy is deleted if nothing is wrong with it."""
    started = time.monotonic()
    folder = folder.resolve()
    shutil.copytree(source.folder, folder, symlinks=True)
    project = object.__new__(Project)
    project.folder = folder
    stage = stage_folder(folder, kill.stage, random.Random(str(kill)))
    before, targets = contents(stage), [str(t.relative_to(folder)) for t in target_files(stage, kill.stage)]
    seconds = own_seconds(stage) + START_SECONDS
    hit, moment = "", kill.moment
    while not hit:  # a job that was done before the signal came is done again, and the signal sent earlier
        shutil.rmtree(stage)
        hit = disturb(project, targets, kill, moment * seconds)
        moment /= 2
    problem = repair(project, targets, kill) or difference(before, contents(stage))
    if not problem:
        shutil.rmtree(folder)
    return Outcome(kill, hit, time.monotonic() - started, problem)


def stage_folder(folder: Path, stage: str, rng: random.Random) -> Path:
    """A step's folder; some stages have several."""
    if stage == COLLECT:
        return folder / "results/tiny"
    return rng.choice(steps(folder)[stage])


def target_files(folder: Path, stage: str) -> list[Path]:
    names = {COLLECT: ["miou.csv"], **TABLES}.get(stage)
    if names:
        return [folder / name for name in names]
    return sorted(path for path in folder.iterdir() if path.suffix in (".h5", ".safetensors"))


def own_seconds(folder: Path) -> float:
    """The longest job of the undisturbed step."""
    files = (folder / "timing").glob("*.json")
    return max((json.loads(file.read_text())["seconds"] for file in files), default=0.0)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that is a result; hidden files and whatever else is left over count as well."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] in RECORDS or path.name == ".snakemake_timestamp":
            continue
        if path.is_symlink():
            found[str(name)] = str(path.readlink()).encode()
        elif path.is_file():
            found[str(name)] = path.read_bytes()
    return found


def difference(before: dict[str, bytes], after: dict[str, bytes]) -> str:
    wrong = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    kinds = ("missing" if n not in after else "left over" if n not in before else "differs" for n in wrong)
    return ", ".join(f"{name} {kind}" for name, kind in zip(wrong, kinds, strict=True))


def disturb(project: Project, targets: list[str], kill: Kill, delay: float) -> str:
    """Starts Snakemake and sends the signal; returns what ran at that moment, or nothing if all was done already."""
    command = [*project.command(target=targets[0]), *targets[1:]]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment(), **quiet)
    jobs: list[tuple[int, str]] = []
    while not jobs and process.poll() is None:
        time.sleep(0.01)
        jobs = running_jobs(project.folder)
    time.sleep(delay)
    jobs = running_jobs(project.folder)
    hit = jobs[0][1] if jobs else ""
    if process.poll() is None and hit:
        os.kill(process.pid if kill.victim == "snakemake" else jobs[0][0], kill.signal)
    process.wait()
    return hit


def running_jobs(folder: Path) -> list[tuple[int, str]]:
    """Process id and module of each stage program that runs in `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode().split("\0")
            program = [word for word in words[2:4] if word != "wsss.runtime.start"] if words[1:2] == ["-m"] else []
            stage = program[0] if program else ""
            if stage.startswith("wsss.stages.") and (path / "cwd").resolve() == folder.resolve():
                found.append((int(path.name), stage.removeprefix("wsss.stages.")))
        except OSError:
            continue
    return sorted(found)


def repair(project: Project, targets: list[str], kill: Kill) -> str:
    """Repeats the command, as a person would; returns what went wrong."""
    if kill.victim == "snakemake":
        project.snakemake("--unlock")
    done = project.snakemake(target=targets[0], more=targets[1:])
    deadline = time.monotonic() + 120
    while running_jobs(project.folder) and time.monotonic() < deadline:  # what a killed Snakemake left behind
        time.sleep(0.1)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return f"the same command failed: {' | '.join(lines[-3:])}"
    return ""


def print_line(number: int, outcome: Outcome) -> None:
    kill = outcome.kill
    verdict = outcome.problem or "identical"
    who = f"{kill.stage:21} {kill.victim:10} {kill.signal.name:8}"
    print(f"{number:4} {who} {outcome.hit:21} {outcome.seconds:6.1f} {verdict}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="trials at once (default 2)")
    parser.add_argument("--folder", type=Path, help="where to work; kept (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        source = finished_run(folder / "undisturbed")
        print(f"{'':4} {'stage':21} {'signal to':10} {'signal':8} {'while it ran':21} {'s':>6} result", flush=True)
        kills = list(itertools.islice(draw_kills(stages(source), args.seed), args.kills))
        folders = [folder / f"kill{number}" for number in range(1, len(kills) + 1)]
        outcomes = []
        with ThreadPoolExecutor(args.jobs) as pool:
            for outcome in pool.map(try_kill, itertools.repeat(source), kills, folders):
                outcomes.append(outcome)
                print_line(len(outcomes), outcome)
    identical = sum(not outcome.problem for outcome in outcomes)
    print(f"{identical} of {len(outcomes)} identical")
    sys.exit(identical < len(outcomes))


if __name__ == "__main__":
    main()
