"""Checks images and labels, reports problems and remarks, and writes a configuration that is ready to run.

wsss init photos/ --labels labels.csv
wsss init photos/                (in folders of classes: photos/cat/1.jpg)
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wsss.cli.draft import (
    FITTED,
    MAX_EDGE,
    VAL_WITHOUT_MASKS,
    backbone_settings,
    downloaded_instead,
    fitted,
    make_config,
    on_backbone,
    phrases,
    write_config,
)
from wsss.cli.findings import SHOWN, check_splits, describe, doubts, open_folder, remarks
from wsss.cli.helping import Paragraphs
from wsss.config.hints import snakemake
from wsss.config.loading import PRESETS, load_run, merge, name_problem
from wsss.data.checks import Problem
from wsss.data.sources.folder.index import Survey
from wsss.data.sources.folder.settings import Settings as FolderSettings
from wsss.runtime.ending import plain_ending
from wsss.runtime.plain_yaml import read_yaml
from wsss.runtime.progress import number_of
from wsss.runtime.targets import a_path, refuse_sources

SMALL, SHARDS_OF_SMALL = 1000, 2
"""Number of shards for data sets below this number of images: each job costs seconds for the start of Python."""


@dataclass(frozen=True)
class Request:
    """The command's arguments. options: KEY=VALUE, options of the weights' network."""

    images: Path
    labels: Path | None
    masks: Path | None
    name: str
    preset: list[str]
    weights: Path | None
    options: list[str]

    def absolute(self) -> Request:
        """The same request with absolute paths."""
        places = {key: getattr(self, key) for key in ("images", "labels", "masks", "weights")}
        return replace(self, **{key: Path(os.path.abspath(p)) for key, p in places.items() if p is not None})  # noqa: PTH100


@dataclass(frozen=True)
class Prepared:
    """Result of a request: images, their sizes (N, 2), problems that stop a run, and the configuration."""

    seen: Survey
    sizes: np.ndarray
    problems: list[Problem]
    notes: list[str]
    config: dict[str, Any]
    max_edge: int

    @property
    def summary(self) -> Iterator[str]:
        """A line on images and classes, and a line for each remark."""
        counts = self.seen.labels(self.seen.table.classes).sum(0).tolist()
        named = sorted(zip(self.seen.table.classes, counts, strict=True), key=lambda pair: -pair[1])
        shown = ", ".join(f"{name} {count}" for name, count in named[:6])
        more = f" and {len(named) - 6} more" if len(named) > 6 else ""
        images = number_of(len(self.seen.found), "image", "images")
        yield f"{images} of {number_of(len(named), 'class', 'classes')}: {shown}{more}"
        yield from (f"note: {line}" for line in self.notes)


def prepare(request: Request) -> Prepared:
    """Checks the data and makes the configuration.

    Raises:
        ValueError: the folder, the CSV or an option cannot be used.
    """
    name, preset = request.name, request.preset
    if problem := name_problem(name):
        raise ValueError(f"--name '{name}'; accepted: {problem}")
    backbone = backbone_settings(request.weights, request.options)
    fits = len(preset) == 1 and preset[0] in FITTED
    recipe = read_yaml((PRESETS / f"{preset[0]}.yaml").read_text(encoding="utf-8")) if fits else {}
    max_edge = MAX_EDGE if fits else FolderSettings.model_fields["max_edge"].default
    seen, sizes, preflight = open_folder(request.images, request.labels, request.masks)
    classes = seen.table.classes
    config = make_config(name, request.images, request.labels, request.masks, classes, preset)
    notes = [*remarks(seen), *doubts(seen, preflight)]
    if not preflight.problems:
        notes += check_splits(seen, VAL_WITHOUT_MASKS if request.masks is None else None, request.images, preflight)
        runs = config["runs"]
        if recipe:
            runs[name] = merge(runs[name], fitted(recipe, sizes))
        run = load_run(name, runs)
        for changes in (on_backbone(run, backbone) if backbone else downloaded_instead(run), phrases(run, classes)):
            runs[name] = merge(runs[name], changes)
        load_run(name, runs)
        if len(sizes) < SMALL:
            config["execution"] = {"shards": SHARDS_OF_SMALL}
    return Prepared(seen, sizes, preflight.problems, notes, config, max_edge)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments shared by `wsss init` and `wsss run`."""
    parser.add_argument("images", type=a_path, help="folder of images, with its subfolders")
    parser.add_argument(
        "--labels",
        type=a_path,
        help="CSV: image,labels or a 0/1 column per class; without it, folders of classes are the labels",
    )
    parser.add_argument("--masks", type=a_path, help="folder of masks of some images, used only for evaluation")
    parser.add_argument(
        "--preset", nargs="+", default=[FITTED[0]], help=f"recipes of workflow/presets (default: {FITTED[0]})"
    )
    parser.add_argument("--weights", type=a_path, help="local ImageNet weights of the preset's network: no download")
    parser.add_argument(
        "--network-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what the weights need, e.g. pad_type=same",
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Paragraphs)
    add_arguments(parser)
    parser.add_argument("--name", default="photos", help="name of the run (default: photos)")
    parser.add_argument("--config", type=a_path, help="file to write (default: NAME.yaml)")
    parser.add_argument("--force", action="store_true", help="replace the file")
    args = parser.parse_args()
    with plain_ending("init"):
        sys.exit(init(args))


def init(args: argparse.Namespace) -> int:
    """Prints the report and writes the configuration; returns the exit status.

    Raises:
        ValueError: the folder, the CSV or an option cannot be used.
    """
    target = args.config or Path(f"{args.name}.yaml")
    if target.exists() and not args.force:
        raise ValueError(f"{target} exists; choose another --name or --config, or --force")
    if target.suffix.lower() not in (".yaml", ".yml"):
        raise ValueError(f"--config {target}: accepted is the name of a .yaml file")
    refuse_sources([target], filter(None, [args.labels, args.weights]))
    found = prepare(
        Request(args.images, args.labels, args.masks, args.name, args.preset, args.weights, args.network_options)
    )
    if found.seen.found:
        print("\n".join(describe(found.seen, found.sizes, found.max_edge)))
        print("\n".join(f"note: {line}" for line in found.notes))
    for problem in found.problems[:SHOWN]:
        print(f"problem: {problem}", file=sys.stderr)
    if found.problems:
        print(f"{len(found.problems)} problem(s) to solve first; nothing is written", file=sys.stderr)
        return 2
    write_config(target, args.name, found.config)
    print(f"\n{target} is ready. Next:\n  {_next(args, target)}")
    return 0


def _next(args: argparse.Namespace, target: Path) -> str:
    """The command that runs a configuration: `wsss run` if it finds the file by the run's name."""
    if target != Path(f"{args.name}.yaml"):
        return snakemake(Path(), str(target), f"results/{args.name}/miou.csv")
    labels = ["--labels", str(args.labels)] if args.labels else []
    return shlex.join(["wsss", "run", str(args.images), *labels, "--name", args.name])


if __name__ == "__main__":
    main()
