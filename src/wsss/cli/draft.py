"""The configuration that `wsss init` and `wsss run` write: a preset, fitted to the images, classes and weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from wsss.backbones.packages import installed
from wsss.config.loading import merge
from wsss.config.run import Run
from wsss.config.words import Words, words_of
from wsss.plan.checks import named
from wsss.runtime.files import write_atomically
from wsss.runtime.plain_yaml import read_yaml

FITTED = ("frozen", "photos")
"""Presets that are adapted to the images, the default first; others are used unchanged."""
MADE_ON_IMAGES, MADE_ON_EDGE = 700, 320
"""Number and longest edge (pixels) of the images for which these presets were tuned."""
MAX_EDGE = 512
"""Longest edge in pixels to which these presets shrink images."""
NETWORKS = ("compute_features", "train_classifier", "train_segmentation")
"""Stages that use the network of `--weights`."""
VAL_WITHOUT_MASKS = 0.1
"""Share of held-out images without masks: enough to evaluate the classifier."""


def make_config(
    name: str, images: Path, labels: Path | None, masks: Path | None, classes: list[str], preset: list[str]
) -> dict[str, Any]:
    """The configuration of one run on a folder."""
    data: dict[str, Any] = {"dataset": "folder", "images": str(images)}
    data |= {"labels": str(labels)} if labels else {}
    data |= {"masks": str(masks), "classes": classes} if masks else {"val_fraction": VAL_WITHOUT_MASKS}
    run: dict[str, Any] = {"preset": preset if len(preset) > 1 else preset[0], "prepare_data": data}
    return {"runs": {name: run | {"choose_threshold": "masks", "upper_bound": False}}}


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
        ValueError: an option is not KEY=VALUE, there is no such file, or it holds no weights.
    """
    if weights:
        if not weights.is_file():
            raise ValueError(f"--weights: no file '{weights}'")
        from wsss.backbones.checkpoints import read_state_dict  # seconds of import

        with named("--weights"):
            read_state_dict(weights)
    chosen: dict[str, Any] = {}
    for option in options:
        if not re.fullmatch(r"\w+=.+", option):
            raise ValueError(f"--network-options '{option}'; accepted: KEY=VALUE, e.g. pad_type=same")
        key, _, value = option.partition("=")
        with named(f"--network-options '{option}'"):
            chosen[key] = read_yaml(value)
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


def write_config(target: Path, name: str, config: dict[str, Any]) -> None:
    """Writes the configuration as YAML."""
    write_atomically(target, f"# Every setting: wsss describe\n{_yaml(name, config)}")


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
