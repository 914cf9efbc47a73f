"""Model card beside the weights: the trained network, its data and recipe, and its evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from wsss.config.common import settings_below
from wsss.config.loading import load_section
from wsss.config.sections import Backbone
from wsss.config.stages import SECTIONS, TrainSegmentation
from wsss.data.dataset import Dataset
from wsss.plan.manifest import views_of
from wsss.report.precision import precision_line
from wsss.runtime.cells import markdown
from wsss.runtime.files import regular, write_atomically
from wsss.runtime.records import AGAIN, read_record, read_table
from wsss.store.about import copy_described

_USE = """```python
from wsss import load_segmentation
model = load_segmentation("model.safetensors")
mask = model.predict(photograph)  # a path, PIL image or uint8 array → (H, W) uint8 class ids
```"""


def write_model_folder(run: Path, card: str | None) -> None:
    """`model/` in the run's folder: the weights and `model_card.md`; without a card, those of an earlier run go."""
    weights, folder = run / "train_segmentation" / "model.safetensors", run / "model"
    if card is None:
        for name in ("model.safetensors", "model_card.md"):
            (folder / name).unlink(missing_ok=True)
        return
    folder.mkdir(exist_ok=True)
    views = views_of(run / "prepare_data", run / "segment")
    write_atomically(folder / "model.safetensors", lambda path: copy_described(weights, path, views=views))
    write_atomically(folder / "model_card.md", card)


def model_card(run: Path, measured: Path) -> str | None:
    """Markdown on the network of a run whose stages are linked in its folder; None if it trains none.

    measured: its table.
    """
    if not os.path.lexists(run / "train_segmentation" / "model.safetensors"):
        return None
    classes = Dataset(run / "prepare_data").class_names
    settings = load_section(TrainSegmentation, str(run / "train_segmentation" / "config.yaml"))
    versions = read_record(run / "train_segmentation" / "versions.json")
    table = read_table(measured, "stage", "split", "images", "miou")
    weak = settings.labels == "pseudo_labels"
    sections = [
        f"# {settings.architecture} on {settings.backbone.name}: run `{run.name}`",
        "Semantic segmentation, trained on "
        + ("pseudo-labels made from image-level labels alone." if weak else "pixel masks."),
        "## Use\n" + _USE,
        f"## Classes\n{len(classes)}, ids from 0: {', '.join(map(markdown, classes))}. 255 is never predicted.",
        "## Quality\n" + _quality(table) + _labels_alone(run),
        _data(run),
        "## Weights that it started from\n" + _weights(run),
        "## Recipe\n" + _recipe(run),
        "## Versions\n" + "\n".join(f"- {name}: {version}" for name, version in versions.items()),
        "## Limits\nMasks are as good as the labels and the data above; other cameras, scenes and classes need a check "
        "of their own. Without masks of your own data nothing is known about the quality there.",
    ]
    return "\n\n".join(sections) + "\n"


def _quality(table: pd.DataFrame) -> str:
    if table.empty:
        return "Not measured: the data have no masks. See `quality/quality.csv` of the run for what to check."
    lines = ["| | split | images | mIoU % |", "|---|---|---|---|"]
    rows = table[["stage", "split", "images", "miou"]].itertuples(index=False)
    lines += [f"| {row.stage} | {row.split} | {row.images} | {row.miou:.2f} |" for row in rows]
    own = table[(table["stage"] == "segmentation") & (table["split"] == "val")]
    if len(own):
        ious = own.filter(like="iou_").iloc[0]
        lines += ["", "IoU % of this network: " + ", ".join(f"{markdown(n[4:])} {v:.1f}" for n, v in ious.items())]
    return "\n".join(lines)


def _data(run: Path) -> str:
    file = run / "prepare_data" / "data_card.md"
    try:
        text = regular(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: damaged ({error}); {AGAIN}") from None
    return text.replace("# Data", "## Data", 1).strip()


def _labels_alone(run: Path) -> str:
    """A line on the classifier's mean average precision, which needs no masks."""
    precision = precision_line(run)
    return precision and f"\n\n{precision}"


def _weights(run: Path) -> str:
    """Each pretrained network of the run's stages, and the licence of its weights."""
    found: dict[str, None] = {}
    for link in ("compute_features", "train_classifier", "train_segmentation"):
        file = run / link / "config.yaml"
        if file.is_file():
            for _, backbone in settings_below(load_section(SECTIONS[link], str(file)), Backbone):
                found |= dict.fromkeys(_origins(backbone))
    return "\n".join(f"- {line}" for line in found) or "None: every network was trained from scratch."


def _origins(backbone: Backbone) -> Iterator[str]:
    if backbone.checkpoint is not None:
        known = backbone.checkpoint.known
        yield f"{backbone.name}: {backbone.checkpoint}; licence: {known.licence if known else 'as its publisher says'}"
    elif backbone.weights is not None or backbone.pretrained:
        from wsss.backbones.timm import licence_of  # a second's import

        yield f"{backbone.name}: timm's; licence: {licence_of(backbone.name)}"


def _recipe(run: Path) -> str:
    """The settings of every stage of the run."""
    stages: dict[str, Any] = {}
    for link in sorted(path for path in run.iterdir() if path.is_symlink()):
        file = link / "config.yaml"
        if file.is_file() and link.name != "evaluate":
            stages[link.name] = read_record(file)
    return f"```yaml\n{yaml.safe_dump(stages, sort_keys=True, allow_unicode=True)}```"
