"""Checks images and labels, reports problems and remarks, and writes a configuration that is ready to run.

wsss init path/to/images --labels labels.csv
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from wsss.backbones.packages import installed
from wsss.config.loading import PRESETS, load_run, merge, name_problem
from wsss.config.run import Run
from wsss.config.words import Words, words_of
from wsss.data.checks import Preflight, Problem, check_rows
from wsss.data.dataset import image_size
from wsss.data.remarks import everywhere, of_twins
from wsss.data.sources.folder.index import Survey, entries_of, split, survey
from wsss.data.sources.folder.settings import Settings as FolderSettings
from wsss.runtime.ending import plain_ending
from wsss.runtime.files import write_atomically
from wsss.runtime.plain_yaml import read_yaml
from wsss.runtime.targets import a_path, refuse_sources

FEW = 20
"""Number of images of a class below which a remark says that they are too few to learn it."""
TOGETHER = 0.9
"""Share of common images above which a remark says that two classes cannot be separated."""
SHOWN = 20
"""Number of problems, classes and pairs that are printed."""
FITTED = ("frozen", "photos")
"""Presets that are adapted to the images, the default first; others are used unchanged."""
MADE_ON_IMAGES, MADE_ON_EDGE = 700, 320
"""Number and longest edge (pixels) of the images for which these presets were tuned."""
MAX_EDGE = 512
"""Longest edge in pixels to which these presets shrink images."""
NETWORKS = ("compute_features", "train_classifier", "train_segmentation")
"""Stages that use the network of `--weights`."""
SMALL, SHARDS_OF_SMALL = 1000, 2
"""Number of shards for data sets below this number of images: each job costs seconds for the start of Python."""
VAL_WITHOUT_MASKS = 0.1
"""Share of held-out images without masks: enough to evaluate the classifier."""


def describe(seen: Survey, sizes: np.ndarray, max_edge: int) -> Iterator[str]:
    """Lines on images, classes and their co-occurrence. sizes: (N, 2) heights and widths."""
    classes = seen.table.classes
    labels = seen.labels(classes)
    edges = sizes.max(1)
    kinds = sorted({f.path.suffix.lower() for f in seen.found})
    yield f"{len(seen.found)} images with labels ({', '.join(kinds)}), longest edge {edges.min()} to {edges.max()} px"
    if (large := int((edges > max_edge).sum())) > 0:
        yield f"{large} images are shrunk to {max_edge} px for training (prepare_data.max_edge)"
    yield f"{len(classes)} classes from {seen.table.path} ({seen.table.shape}), {labels.sum(1).mean():.1f} per image:"
    counts = labels.sum(0)
    for name, count in sorted(zip(classes, counts.tolist(), strict=True), key=lambda pair: -pair[1])[:SHOWN]:
        yield f"  {name:24} {count:6} images"
    if len(classes) > SHOWN:
        yield f"  … and {len(classes) - SHOWN} more"
    pairs = sorted(_pairs(classes, labels), key=lambda p: -p[2])[:SHOWN]
    if pairs:
        yield "most often together:"
    for a, b, both in pairs[:5]:
        yield f"  {a} + {b}: {both} images"


def remarks(seen: Survey) -> Iterator[str]:
    """Remarks on the data that do not stop a run."""
    classes = seen.table.classes
    labels = seen.labels(classes)
    empty = int((labels.sum(1) == 0).sum())
    if empty:
        yield f"{empty} images bear no label: they count as background only"
    for name, column in zip(classes, labels.T, strict=True):
        if column.sum() < FEW:
            yield f"class '{name}' has {column.sum()} images; {FEW} or more are needed to learn it"
        if column.all():
            yield everywhere(name)
    for a, b, both in _pairs(classes, labels):
        columns = labels[:, [classes.index(a), classes.index(b)]]
        if both >= TOGETHER * columns.sum(0).max():
            yield f"'{a}' and '{b}' are nearly always together: image labels alone cannot tell them apart"


def _odd(seen: Survey, preflight: Preflight) -> Iterator[str]:
    """prepare_data's remarks on the files."""
    rows = _rows(seen, [f.row.split for f in seen.found])
    yield from preflight.remarks(["background", *seen.table.classes], rows)
    yield from of_twins(rows, preflight.digests)


def _rows(seen: Survey, splits: Sequence[str]) -> list[dict[str, str]]:
    """The images as rows of index.csv, as far as remarks and checks read them. splits: of each image."""
    classes = seen.table.classes
    return [
        {"image_id": f.image_id, "labels": ";".join(n for n in classes if n in f.row.names), "split": part, "mask": ""}
        for f, part in zip(seen.found, splits, strict=True)
    ]


def _pairs(classes: list[str], labels: np.ndarray) -> list[tuple[str, str, int]]:
    """Pairs of classes that occur together, and their numbers of images."""
    both = labels.T.astype(np.int64) @ labels.astype(np.int64)
    numbers = combinations(range(len(classes)), 2)
    return [(classes[i], classes[j], int(both[i, j])) for i, j in numbers if both[i, j]]


def make_config(
    name: str, images: Path, labels: Path, masks: Path | None, classes: list[str], preset: list[str]
) -> dict[str, Any]:
    """The configuration of one run on a folder."""
    data: dict[str, Any] = {"dataset": "folder", "images": str(images), "labels": str(labels)}
    data |= {"masks": str(masks), "classes": classes} if masks else {"val_fraction": VAL_WITHOUT_MASKS}
    run: dict[str, Any] = {"preset": preset if len(preset) > 1 else preset[0], "prepare_data": data}
    return {"runs": {name: run | {"choose_threshold": "masks", "upper_bound": False}}}


def _yaml(name: str, config: dict[str, Any]) -> str:
    """The configuration with its stages in their order, and lists on one line."""
    run = config["runs"][name]
    order = ["preset", *(field for field in Run.model_fields if field in run)]
    stages = {key: run[key] for key in order}
    return yaml.dump(config | {"runs": {name: stages}}, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes repeated parts in full, without YAML aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_list(self, data: list[Any]) -> yaml.SequenceNode:
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Dumper.add_representer(list, _Dumper.represent_list)


def fitted(recipe: Mapping[str, Any], sizes: np.ndarray) -> dict[str, Any]:
    """The settings of a preset, adapted to the images' sizes (N, 2).

    Large images are shrunk. Scales are divided, and the CRF's range is multiplied, by the ratio of the median longest
    edge to the preset's. If there are fewer images than the preset's, epochs are multiplied by the root of the ratio.
    """
    edge = float(np.median(np.minimum(sizes.max(1), MAX_EDGE)))
    zoom, often = MADE_ON_EDGE / edge, max(1.0, (MADE_ON_IMAGES / len(sizes)) ** 0.5)

    def scaled(value: float) -> float:
        return round(value * zoom, 2)

    changes: dict[str, Callable[[Any], Any]] = {
        "epochs": lambda epochs: round(often * epochs),
        "scale": scaled,
        "scales": lambda scales: [scaled(scale) for scale in scales],
        "bilateral_sxy": lambda reach: max(1, round(reach / zoom)),
    }
    return merge({"prepare_data": {"max_edge": MAX_EDGE}}, _changed(recipe, changes))


def _changed(section: Mapping[str, Any], changes: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """The settings of a section and of nested ones that are named in `changes`, with their new values."""
    found = {key: changes[key](value) for key, value in section.items() if key in changes}
    below = {key: _changed(value, changes) for key, value in section.items() if isinstance(value, Mapping)}
    return found | {key: value for key, value in below.items() if value}


def backbone_settings(weights: Path | None, options: list[str]) -> dict[str, Any]:
    """The section `backbone` from the command line.

    Raises:
        ValueError: an option is not KEY=VALUE, or there is no such file.
    """
    if weights and not weights.is_file():
        raise ValueError(f"--weights: no file '{weights}'")
    for option in options:
        if not re.fullmatch(r"\w+=.+", option):
            raise ValueError(f"--network-options '{option}'; accepted: KEY=VALUE, e.g. pad_type=same")
    chosen = {key: read_yaml(value) for key, _, value in (option.partition("=") for option in options)}
    own = {"checkpoint": str(weights), "weights": None} if weights else {}
    return own | ({"options": chosen} if chosen else {})


def on_backbone(run: Run, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes in each section whose network is the classifier's."""
    name = run.train_classifier.backbone.name
    sections = (stage for stage in NETWORKS if (section := getattr(run, stage)) and section.backbone.name == name)
    return {stage: {"backbone": dict(changes)} for stage in sections} if changes else {}


def downloaded_instead(run: Run) -> dict[str, Any]:
    """The settings that replace a package's weights by a download if the package is not installed."""
    backbone = run.train_classifier.backbone
    return on_backbone(run, {"weights": None}) if backbone.weights == "package" and not installed(backbone.name) else {}


def phrases(run: Run, classes: list[str]) -> dict[str, Any]:
    """Initial prompts for a method that recognises classes by text."""
    return {"train_classifier": {"method": words_of(classes)}} if isinstance(run.train_classifier.method, Words) else {}


def look(images: Path, labels: Path, masks: Path | None) -> tuple[Survey, np.ndarray, Preflight]:
    """The survey of a folder, the sizes (N, 2) of its readable images, and prepare_data's problems and remarks."""
    seen, preflight = survey(images, labels), Preflight()
    preflight.open(entries_of(seen, images, masks, preflight), len(seen.table.classes))
    bad = {problem.image_id for problem in preflight.problems}
    whole = [f.path for f in seen.found if f.image_id not in bad]
    sizes = np.array([image_size(path) for path in whole]) if whole else np.zeros((1, 2), np.int64)
    return seen, sizes, preflight


def _check_splits(seen: Survey, val_fraction: float | None, where: Path) -> None:
    """prepare_data's checks of both splits. val_fraction: None: the default.

    Raises:
        ValueError: a split is empty or not given for every image, or no training image bears a label.
    """
    defaults = {name: FolderSettings.model_fields[name].default for name in ("val_fraction", "split_seed")}
    classes = seen.table.classes
    in_val = split(seen, classes, val_fraction or defaults["val_fraction"], defaults["split_seed"])
    rows = _rows(seen, ["val" if val else "train" for val in in_val])
    check_rows(["background", *classes], rows, str(where))


@dataclass(frozen=True)
class Request:
    """The command's arguments. options: KEY=VALUE, options of the weights' network."""

    images: Path
    labels: Path
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
        yield f"{len(self.seen.found)} images of {len(named)} classes: {shown}{more}"
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
    seen, sizes, preflight = look(request.images, request.labels, request.masks)
    classes = seen.table.classes
    config = make_config(name, request.images, request.labels, request.masks, classes, preset)
    if not preflight.problems:
        _check_splits(seen, VAL_WITHOUT_MASKS if request.masks is None else None, request.images)
        runs = config["runs"]
        if recipe:
            runs[name] = merge(runs[name], fitted(recipe, sizes))
        run = load_run(name, runs)
        for changes in (on_backbone(run, backbone) if backbone else downloaded_instead(run), phrases(run, classes)):
            runs[name] = merge(runs[name], changes)
        load_run(name, runs)
        if len(sizes) < SMALL:
            config["execution"] = {"shards": SHARDS_OF_SMALL}
    notes = [*remarks(seen), *_odd(seen, preflight)]
    return Prepared(seen, sizes, preflight.problems, notes, config, max_edge)


def write_config(target: Path, name: str, config: dict[str, Any]) -> None:
    """Writes the configuration as YAML."""
    write_atomically(target, f"# Every setting: wsss describe\n{_yaml(name, config)}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments shared by `wsss init` and `wsss run`."""
    parser.add_argument("images", type=a_path, help="folder of images, with its subfolders")
    parser.add_argument("--labels", type=a_path, required=True, help="CSV: image,labels or a 0/1 column per class")
    parser.add_argument("--masks", type=a_path, help="folder of masks of some images; used only to measure")
    parser.add_argument(
        "--preset", nargs="+", default=[FITTED[0]], help=f"recipes of workflow/presets (default: {FITTED[0]})"
    )
    parser.add_argument("--weights", type=a_path, help="local ImageNet weights of the preset's network: no download")
    parser.add_argument(
        "--network-options", nargs="+", default=[], metavar="KEY=VALUE", help="how the weights want the network built"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    refuse_sources([target], [args.labels, *filter(None, [args.weights])])
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
    print(f"\n{target} is ready. Next:\n  snakemake --cores all --configfile {target} -- results/{args.name}/miou.csv")
    return 0


if __name__ == "__main__":
    main()
