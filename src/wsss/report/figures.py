"""Figures for papers: stage bars, threshold curve, qualitative grid, each as PNG and PDF."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from wsss.data.dataset import Record, read_image, read_mask
from wsss.report.gallery import image_iou
from wsss.report.run import RunResults, is_bound, title
from wsss.runtime.files import write_atomically
from wsss.runtime.labels import IGNORE
from wsss.store.maps import LabelStore, ScoreMap, ScoreStore, open_any

# Okabe & Ito's palette, distinguishable with colour blindness.
BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#8A8F94", "#009E73"
MOST_ROWS = 6
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}


def save_figures(run: RunResults, folder: Path) -> None:
    """Writes the figures for which the run has results: `stages`, `threshold` and `qualitative`."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        if len(run.table):
            _save(stage_bars(run), folder / "stages")
        if len(run.curves):
            _save(threshold_figure(run), folder / "threshold")
        _save(qualitative(run), folder / "qualitative")


def _save(figure: Figure, path: Path) -> None:
    for kind, options in (("png", {"dpi": 200}), ("pdf", {"metadata": {"CreationDate": None}})):
        write_atomically(
            path.with_suffix(f".{kind}"),
            lambda file, kind=kind, options=options: figure.savefig(file, format=kind, bbox_inches="tight", **options),
        )


def stage_bars(run: RunResults) -> Figure:
    """mIoU of each row of the table, with published numbers as black ticks."""
    table = run.table
    figure = Figure(figsize=(3.4, 0.4 + 0.26 * len(table)))
    axes = figure.subplots()
    places = np.arange(len(table))[::-1]
    colours = [
        GREY if is_bound(stage) else BLUE if split == "train" else ORANGE
        for stage, split in zip(table["stage"], table["split"], strict=True)
    ]
    axes.barh(places, table["miou"], 0.72, color=colours)
    for place, row in zip(places, table.itertuples(), strict=True):
        axes.text(row.miou + 1, place, f"{row.miou:.1f}", va="center")
        published = run.published.get(f"{row.stage}-{row.split}")
        if published:
            axes.plot([published["miou"]] * 2, [place - 0.4, place + 0.4], color="black", lw=1.5)
    axes.set_yticks(places, [f"{title(r.stage)} ({r.split})" for r in table.itertuples()])
    axes.set_xlim(0, max(100.0, table["miou"].max() + 8))
    axes.set_xlabel("mIoU (%)")
    return figure


def threshold_figure(run: RunResults) -> Figure:
    """mIoU over the background score for each split; the chosen point is a circle."""
    figure = Figure(figsize=(3.4, 2.2))
    axes = figure.subplots()
    styles = {"train": (BLUE, "-"), "val": (ORANGE, "--")}
    for stage, split, curve, row in run.threshold_curves():
        colour, dash = styles.get(split, (GREEN, ":"))
        axes.plot(curve["threshold"], curve["miou"], dash, color=colour, label=f"{title(stage)} ({split})")
        axes.plot(row["threshold"], row["miou"], "o", color=colour, mfc="white")
    axes.set_xlabel("background score")
    axes.set_ylabel("mIoU (%)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def qualitative(run: RunResults) -> Figure:
    """Grid of training images from the worst to the best, with the maps of every stage and the ground truth."""
    layers = [layer for layer in run.layers if layer.split == "train"]
    with ExitStack() as opened:
        stores = [opened.enter_context(open_any(layer.file)) for layer in layers]
        return _grid(run, [layer.title for layer in layers], stores)


def _grid(run: RunResults, titles: Sequence[str], stores: Sequence[LabelStore | ScoreStore]) -> Figure:
    """A row per image; in columns the image, its maps in `stores`, and the ground truth if any image has one."""
    records = _spread(run, stores[-1])
    names = ["Image", *titles]
    masks = any(record.mask for record in records)
    columns = len(names) + masks
    figure = Figure(figsize=(1.15 * columns, 1.05 * len(records)))
    axes = figure.subplots(len(records), columns, squeeze=False)
    for line, record in zip(axes, records, strict=True):
        image = read_image(record.image)
        pictures = [image, *(_picture(image, store[record.image_id], run.dataset.palette) for store in stores)]
        if masks:
            pictures.append(_picture(image, read_mask(record.mask), run.dataset.palette) if record.mask else image)
        for cell, picture in zip(line, pictures, strict=True):
            cell.imshow(picture, interpolation="nearest")
            cell.axis("off")
    for cell, name in zip(axes[0], [*names, "Ground truth"][:columns], strict=True):
        cell.set_title(name, fontsize=7)
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    return figure


def _spread(run: RunResults, final: LabelStore | ScoreStore) -> list[Record]:
    """At most MOST_ROWS images, evenly spaced from the worst IoU to the best."""
    records = run.dataset.split("train")
    measured = [record for record in records if record.mask and record.measured] or records
    sample = [measured[i] for i in np.linspace(0, len(measured) - 1, min(200, len(measured))).astype(int)]
    size = len(run.dataset.class_names)

    def quality(record: Record) -> float:
        found = final[record.image_id]
        if record.mask is None or isinstance(found, ScoreMap):
            return 0.0
        return image_iou(read_mask(record.mask), found, size)

    ordered = sorted(sample, key=quality)
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, min(MOST_ROWS, len(ordered))).astype(int)]


def _picture(image: np.ndarray, found: np.ndarray | ScoreMap, palette: np.ndarray) -> np.ndarray:
    """The image overlaid with a map, (H, W, 3) uint8: scores as heat, labels in the palette, ignored pixels hatched."""
    grey = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if isinstance(found, ScoreMap):
        keep = found.classes > 0
        heat = found.scores[keep].max(0) if keep.any() else np.zeros(image.shape[:2], np.float32)
        return (0.35 * grey + 0.65 * 255 * mpl.colormaps["viridis"](heat)[..., :3]).astype(np.uint8)
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = palette
    weight = np.where((found > 0) & (found != IGNORE), 0.65, 0.0)[..., None]
    mixed = (1 - weight) * grey + weight * colours[found]
    rows, columns = np.indices(found.shape)
    hatch = (found == IGNORE) & ((rows + columns) % 6 < 3)
    mixed[hatch] = 240
    return mixed.astype(np.uint8)


def draw_affinity(image: np.ndarray, affinity: np.ndarray, row: int, column: int, path: Path) -> None:
    """Writes a PNG: the image (H, W, 3) uint8 with one pixel marked, and affinities (H, W) in [0, 1] over it."""
    height, width = image.shape[:2]
    figure = Figure(figsize=(6, 3 * height / width), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis in axes:
        axis.imshow(image)
        axis.plot(column, row, marker="+", color="white", markersize=12, markeredgewidth=3)
        axis.plot(column, row, marker="+", color="black", markersize=10, markeredgewidth=1)
        axis.set_axis_off()
    axes[1].imshow(affinity, cmap="inferno", vmin=0, vmax=1, alpha=0.75)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150))
