"""The work of `wsss predict`: a trained network applied to images of any size, and its files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from wsss.cli.inputs import TABLES, class_ids, network_of, products
from wsss.config.sections import CRF
from wsss.data.dataset import read_image
from wsss.data.groups import read_ahead
from wsss.data.palette import voc_palette, write_mask
from wsss.methods.decode import load_segmenter
from wsss.plan.manifest import views_of
from wsss.runtime.cells import csv_text
from wsss.runtime.ending import one_line
from wsss.runtime.files import write_atomically
from wsss.runtime.progress import Progress, log
from wsss.segmentation.predictor import Predictor
from wsss.store.about import read_about

OVERLAY = 0.5
"""Opacity of the colours over the image."""
READ_AHEAD = 4
"""Images decoded before they are needed."""


def load_predictor(run: Path, device: torch.device, tile: int) -> Predictor:
    """The predictor of a finished run: its network, with the settings of its stage segment.

    Raises:
        ValueError: the run has no network that decodes masks.
    """
    file, applied = network_of(run)
    views = views_of(run / "prepare_data", applied)
    model = load_segmenter(file)
    about = read_about(file) | {"views": views}
    return _on(model, about, device, tile, applied)


def load_model(file: Path, device: torch.device, tile: int) -> Predictor:
    """The predictor of a model file, as its run segments images if it says so, else at one scale.

    Raises:
        ValueError: the file is no network that decodes masks.
    """
    return _on(load_segmenter(file), read_about(file), device, tile, file)


def _on(model: nn.Module, about: Mapping[str, Any], device: torch.device, tile: int, where: Path) -> Predictor:
    model = model.to(device).to(memory_format=torch.channels_last)
    return replace(Predictor.described(model, about, device, where), tile=tile)


def adapted(predictor: Predictor, *, fast: bool, classes: Sequence[str], crf: bool) -> Predictor:
    """The predictor with changed settings. fast: one scale, no mirror. classes: those accepted. crf: the run's CRF.

    Raises:
        ValueError: unknown class.
    """
    chosen = class_ids(predictor.class_names, classes)
    return predictor.changed(fast=fast, crf=(predictor.settings.crf or CRF()) if crf else None, classes=chosen)


def predict(
    predictor: Predictor, images: dict[Path, Path], out: Path, *, batch: int, overlay: bool, softmax: bool
) -> list[tuple[Path, str]]:
    """Writes the masks; returns the unreadable images, each with the reason."""
    palette = voc_palette()
    failed: list[tuple[Path, str]] = []
    write_table(out, "classes.csv", _legend(predictor.class_names, palette))
    progress = Progress(len(images), "images")
    for group in _batches(list(images), batch, failed, progress):
        results = predictor.batch([pixels for _, pixels in group], softmax)
        for (path, pixels), (label, shares) in zip(group, results, strict=True):
            targets = products(out / images[path], overlay=overlay, softmax=softmax)
            write_mask(targets["mask"], label, palette)
            if overlay:
                _write_overlay(targets["overlay"], pixels, label, palette)
            if shares is not None:
                _write_softmax(targets["softmax"], shares)
            progress.update()
    if failed:
        write_table(out, "failed.csv", [[str(path), reason] for path, reason in failed])
    else:
        (out / "failed.csv").unlink(missing_ok=True)
    return failed


def _batches(
    paths: list[Path], size: int, failed: list[tuple[Path, str]], progress: Progress
) -> Iterator[list[tuple[Path, np.ndarray]]]:
    """Batches of consecutive images of equal size; unreadable ones are added to `failed`."""
    group: list[tuple[Path, np.ndarray]] = []
    for path, found in read_ahead(read_image, paths, READ_AHEAD):
        try:
            pixels = found.result()
        except ValueError as error:
            log.warning("skipped: %s", one_line(error))
            failed.append((path, str(error)))
            progress.update()
            continue
        if group and (len(group) == size or group[0][1].shape != pixels.shape):
            yield group
            group = []
        group.append((path, pixels))
    if group:
        yield group


def _write_overlay(path: Path, pixels: np.ndarray, label: np.ndarray, palette: np.ndarray) -> None:
    """Writes the image tinted by class, unchanged in the background."""
    tinted = (pixels * (1 - OVERLAY) + palette[label] * OVERLAY).astype(np.uint8)
    image = Image.fromarray(np.where(label[..., None] > 0, tinted, pixels))
    write_atomically(path, lambda temporary: image.save(temporary, "JPEG", quality=90))


def _write_softmax(path: Path, shares: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, softmax=shares)
    write_atomically(path, buffer.getvalue())


def _legend(class_names: list[str], palette: np.ndarray) -> list[list[object]]:
    return [[i, name, *palette[i].tolist()] for i, name in enumerate(class_names)]


def write_table(out: Path, name: str, rows: Sequence[Sequence[object]]) -> None:
    """Writes one of `TABLES` to the masks' folder."""
    # file names may be invalid UTF-8
    write_atomically(out / name, csv_text([TABLES[name], *rows]).encode(errors="backslashreplace"))
