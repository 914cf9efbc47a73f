"""From images and labels to masks, a model and a report in one command, which resumes after interruptions.

    wsss run photos/ --labels labels.csv
    wsss run photos/                 (in folders of classes: photos/cat/1.jpg)

Checks the images, writes a configuration (NAME.yaml, which can be edited), runs the workflow with one progress bar, and
prints the files to open. Snakemake's output goes to results/NAME/run.log.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from wsss.cli.helping import Paragraphs
from wsss.cli.init import Request, add_arguments
from wsss.cli.labels import LABELS, export, label_file
from wsss.cli.launch import reason, snakemake, work
from wsss.cli.settle import set_folder, settle_config
from wsss.cli.watch import Part, Watch, bar, finished, rounded
from wsss.config.loading import load_execution, read_config
from wsss.config.stages import SHARDED
from wsss.plan.connection import unreachable_weights
from wsss.plan.forecast import predicted_seconds, starting_seconds
from wsss.plan.notes import note, noted
from wsss.plan.run import Plan, missing_inputs, plan_runs
from wsss.report.precision import precision_line
from wsss.runtime.ending import plain_ending
from wsss.runtime.process import Terminated, raise_on, usable_cores
from wsss.runtime.progress import duration, number_of
from wsss.runtime.records import read_table
from wsss.runtime.targets import a_path, require_folder

WORDS = {
    "prepare_data": "opening every image",
    "compute_features": "looking at every image",
    "train_classifier": "learning the labels",
    "infer_cam": "finding where they are",
    "choose_threshold": "telling objects from background",
    "make_affinity_labels": "marking what is certain",
    "train_affinity": "learning what belongs together",
    "refine_cam": "spreading the maps",
    "make_pseudo_labels": "drawing pseudo-labels",
    "corrections": "taking your corrections",
    "train_segmentation": "training the model",
    "segment": "trying the model",
    "quality": "looking for doubtful labels",
    "evaluate": "measuring",
}
"""Stage → description in the progress bar."""


def parts_to_do(plan: Plan, sizes: np.ndarray, shards: int, cores: int) -> list[Part]:
    """The unfinished steps, with their predicted seconds."""
    data = plan.settings.prepare_data
    val = round(len(sizes) * getattr(data, "val_fraction", 0.2))
    images = {"train": len(sizes) - val, "val": val}
    shrunk = np.minimum(1, (getattr(data, "max_edge", None) or np.inf) / sizes.max(1))
    megapixels = float(np.median(sizes.prod(1) * shrunk**2)) / 1e6
    parts = []
    for step in plan.steps:
        if not finished(step.folder):
            jobs = max(1, step.shards(shards) * len(SHARDED.get(step.stage, ())))
            seconds = starting_seconds(jobs, cores) + predicted_seconds(step, images, megapixels, cores)
            parts.append(Part(step, seconds, jobs))
    return parts


def export_labels(run: Path, key: str) -> Path:
    """Exports the pseudo-labels as PNG to the run's folder, beside those of other results."""
    folder = run / "pseudo-labels"
    if folder.exists() and noted(folder) != key:
        folder = run / f"pseudo-labels-{key[:6]}"
    if not (folder.exists() and noted(folder) == key):
        export(label_file(run), "png", folder)
        note(folder, key)
    return folder


def _likely(row: Any) -> str:
    """The bootstrap interval of a row's mIoU, if known."""
    return f" ({row.miou_low:.1f} to {row.miou_high:.1f} likely)" if pd.notna(row.miou_low) else ""


def ending(plan: Plan, console: Console) -> None:
    """Prints the result and the three things to open."""
    run = Path("results") / plan.run
    key = next(step.key for step in reversed(plan.steps) if step.label in LABELS)
    labels = export_labels(run, key)
    table = read_table(run / "miou.csv", "stage", "split", "images", "miou", "miou_low", "miou_high")
    told = [
        f"mIoU {row.miou:.1f} %{_likely(row)}: {row.stage} on {row.images} {row.split} images"
        for row in table[table["stage"].isin(["pseudo_label", "segmentation"])].itertuples()
    ]
    if not told and (precision := precision_line(run)):
        told = [f"no masks to measure with; {precision}"]
    told += [f"report         {run / 'report.html'}", f"pseudo-labels  {labels}"]
    if (run / "model").is_dir():
        told.append(f"model          wsss predict --run {run} NEW_IMAGES --out masks")
    for line in told:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="wsss run", description=__doc__, formatter_class=Paragraphs)
    add_arguments(parser)
    parser.add_argument(
        "--corrections", type=a_path, help="folder of corrected masks of some images; stored in NAME.yaml"
    )
    parser.add_argument("--name", help="name of the run (default: that of the images' folder)")
    parser.add_argument("--out", type=a_path, default=Path(), help="folder of NAME.yaml and results/ (default: here)")
    parser.add_argument("--cores", type=int, default=usable_cores(), help="CPU cores (default: all)")
    parser.add_argument("--force", action="store_true", help="overwrite NAME.yaml")
    parser.add_argument("--unlock", action="store_true", help="first remove the lock that a killed command left")
    args = parser.parse_args()
    raise_on((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        with plain_ending("run"):
            _run(args, Console(stderr=True))
    except Terminated as stop:
        print("[run] stopped; the same command resumes", file=sys.stderr)
        sys.exit(stop.code)


def _run(args: argparse.Namespace, console: Console) -> None:
    if args.cores < 1:
        raise ValueError(f"--cores {args.cores}; accepted: 1 or more")
    name = args.name or re.sub(r"[^\w.+-]+", "-", args.images.resolve().name).strip("-.") or "photos"
    request = Request(args.images, args.labels, args.masks, name, args.preset, args.weights, args.network_options)
    if args.out != Path():
        request = request.absolute()
        args.corrections = args.corrections and args.corrections.absolute()
        args.out.mkdir(parents=True, exist_ok=True)
        os.chdir(args.out)
    for place in (Path(), Path("results") / name):
        require_folder(place)
    config, sizes = settle_config(request, console, force=args.force)
    if args.corrections is not None:
        set_folder(config, name, "corrections", args.corrections)
    content = read_config(config)
    plan = plan_runs(content)[name]
    if problem := missing_inputs(plan):
        raise ValueError(problem)
    command = snakemake(config, name, args.cores)
    if args.unlock:
        subprocess.run(snakemake(config, name, args.cores, "--unlock"), capture_output=True, check=False)
    watch = Watch(parts_to_do(plan, sizes, load_execution(content).shards, args.cores))
    if problem := unreachable_weights([part.step for part in watch.parts]):
        raise ValueError(problem)
    if watch.parts:
        left = rounded(watch.look()[1])
        cores = number_of(args.cores, "core", "cores")
        console.print(f"about {left} on {cores}; Ctrl-C stops, the same command resumes", highlight=False)
    begun, log = time.time(), Path("results") / name / "run.log"
    with bar(console, watch, WORDS) as show:
        status = work(command, log, show)
    if status:
        raise ValueError(f"{reason(log)} (all of it: {log})")
    console.print(f"done in {duration(time.time() - begun)}", highlight=False)
    ending(plan, console)


if __name__ == "__main__":
    main()
