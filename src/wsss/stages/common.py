"""Shared parts of the stage programs: command line, manifest, records and signals."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from wsss.config.loading import load_section
from wsss.plan.inputs import check_inputs, manifest_of
from wsss.plan.manifest import Manifest
from wsss.runtime.files import remove_leftovers, write_atomically
from wsss.runtime.process import Terminated, limit_threads, processes, raise_on, rank, usable_cores
from wsss.runtime.progress import job_file
from wsss.runtime.records import AGAIN, read_record, seal_tables
from wsss.stages.log import plain_errors, start_log

log = logging.getLogger("wsss")

_VERSIONS = ("wsss", "torch", "torchvision", "timm", "numpy", "h5py", "pillow", "segmentation-models-pytorch")


def stage_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments of every stage."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="the stage's settings: JSON text, or a JSON/YAML file")
    parser.add_argument("--manifest", help="JSON: all that decides the result, as planned; default: made of the inputs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stage's results")
    parser.add_argument("--log", type=Path, help="log file; lines go to the terminal as well")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="most CPU threads to use")
    return parser


@contextmanager
def stage_session(
    stage: str, args: argparse.Namespace, section: Any, *roles: str, folders: Mapping[str, Path] | None = None
) -> Iterator[Any]:
    """Context of a stage's work with log, threads, signals and records; yields the stage's settings.

    section: type of the settings. roles: the arguments that name a folder or a file of an upstream step. folders:
    further ones, by role. First the manifest is written to the folder, and its key set as `args.key`. A ValueError or
    OSError is a user's error: one line, exit status 2, details only in the log file. Of several processes only the
    first one logs and writes.
    """
    inputs = {role: getattr(args, role) for role in roles} | dict(folders or {})
    if rank() > 0:
        with _helper_session(args):
            yield _settings(stage, args, section, inputs)[0]
        return
    with plain_errors():
        args.out.mkdir(parents=True, exist_ok=True)
        start_log(stage, args.log)
        threads = _prepare_process(args)
        started = time.time()
        settings, manifest = _settings(stage, args, section, inputs)
        manifest.write(args.out, replace=not args.manifest)
        remove_leftovers(args.out)
        _forget_other_shardings(args)
        config = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_atomically(args.out / "config.yaml", config)
        log.info("%s starts with %d thread(s): %s", stage, threads, args.out)
        try:
            with job_file(args.out / "progress" / f"{_job(stage, args)}.json", stage, args.log) as before:
                yield settings
        except Terminated as signalled:
            log.warning("stopped by a signal; the same command resumes")
            raise signalled
        _record(stage, args, started, before, manifest.code)
        log.info("%s done in %.1f s", stage, time.time() - started)


def _settings(
    stage: str, args: argparse.Namespace, section: Any, inputs: dict[str, Path | None]
) -> tuple[Any, Manifest]:
    """The stage's settings and manifest: the planned one, checked against the inputs, or one made from them."""
    settings = load_section(section, args.config)
    if args.manifest:
        manifest = Manifest.parse(args.manifest)
        check_inputs(manifest, settings, inputs)
    else:
        manifest = manifest_of(stage, settings, inputs)
    args.key = manifest.key
    return settings, manifest


@contextmanager
def _helper_session(args: argparse.Namespace) -> Iterator[None]:
    """Session of a further process of a training run, which logs errors only."""
    start_log(f"process {rank()}", None)
    log.setLevel(logging.ERROR)
    _prepare_process(args)
    with plain_errors():
        yield


def _prepare_process(args: argparse.Namespace) -> int:
    """Makes signals raise `Terminated` and limits the threads; returns this process's number of threads."""
    raise_on((signal.SIGTERM, signal.SIGINT))
    return limit_threads(max(1, args.threads // processes()))


def cores(args: argparse.Namespace) -> int:
    """Number of CPU cores that the stage may use."""
    return min(args.threads, usable_cores())


def read_threshold(path: Path) -> dict[str, Any]:
    """The background score and its source, as written by choose_threshold.

    Raises:
        ValueError: the file is damaged.
    """
    chosen = read_record(path, threshold=(int, float), source=str)
    if not 0 <= chosen["threshold"] <= 1:
        raise ValueError(f"{path}: damaged (threshold {chosen['threshold']}; accepted are 0 to 1); {AGAIN}")
    return {"threshold": float(chosen["threshold"]), "source": chosen["source"]}


def _record(stage: str, args: argparse.Namespace, started: float, before: float, code: str) -> None:
    """Writes the software versions, the computing time and the digests of tables beside the results.

    before: seconds spent by interrupted processes.
    """
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    write_atomically(args.out / "versions.json", json.dumps(versions | {"code": code}, indent=1))
    timing = {
        "stage": stage,
        "seconds": round(before + time.time() - started, 2),
        "cpu_seconds": round(time.process_time(), 2),  # of this process, from its start
        "started": started,
        "device": _device(getattr(args, "device", "cpu")),
        "threads": args.threads,
    }
    seal_tables(args.out)
    write_atomically(args.out / "timing" / f"{_job(stage, args)}.json", json.dumps(timing))


def _forget_other_shardings(args: argparse.Namespace) -> None:
    """Removes records of jobs with another number of shards, which would be counted twice."""
    if not hasattr(args, "of"):
        return
    for folder in ("progress", "timing"):
        for path in (args.out / folder).glob(f"{args.split}-*-of-*.json"):
            if not path.stem.endswith(f"-of-{args.of}"):
                path.unlink(missing_ok=True)


def _job(stage: str, args: argparse.Namespace) -> str:
    """The name of a job within its step, that of its log, e.g. `train-0-of-4`."""
    return args.log.stem if args.log else stage


def _device(name: str) -> str:
    """The hardware name of a device; `auto` is the GPU if there is one."""
    torch = sys.modules.get("torch")
    if name == "cpu" or torch is None or not torch.cuda.is_available():
        return "cpu"
    return torch.cuda.get_device_name(None if name == "auto" else name)
