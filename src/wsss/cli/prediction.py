"""The work of `wsss predict`: a trained network applied to images of any size, and its files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from wsss.cli.inputs import MARGIN, TABLES, class_ids, network_of, products
from wsss.config.sections import CRF
from wsss.config.stages import Segment
from wsss.data.dataset import read_image
from wsss.data.palette import voc_palette
from wsss.data.shrink import shrunk
from wsss.methods.decode import load_segmenter
from wsss.plan.manifest import settings_of
from wsss.runtime.cells import csv_text
from wsss.runtime.ending import one_line
from wsss.runtime.files import write_atomically
from wsss.runtime.progress import Progress, log
from wsss.runtime.records import AGAIN, require_keys
from wsss.segmentation.fusion import probabilities, view_scores
from wsss.segmentation.inference import crf_labels
from wsss.segmentation.tiling import enlarged, enlarged_labels, tiled_probabilities
from wsss.store.about import read_about

OVERLAY = 0.5
READ_AHEAD = 4


@dataclass(frozen=True)
class Predictor:
    """A network, its inference settings, and its class names."""

    model: nn.Module
    class_names: list[str]
    settings: Segment
    max_edge: int | None
    device: torch.device
    tile: int = 1024
    classes: frozenset[int] | None = None
    """Accepted class ids beside the background; None: all."""

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """(B, C, H, W) float32 of images (B, H, W, 3) uint8."""
        s = self.settings
        shares = probabilities(view_scores(self.model, images, s, self.device), images.shape[1:3], s)
        if self.classes is not None:
            shares[:, [c for c in range(1, shares.shape[1]) if c not in self.classes]] = 0
            shares = shares / shares.sum(1, keepdim=True).clamp_min(1e-12)
        return shares.cpu().numpy()

    def batch(self, images: Sequence[np.ndarray], softmax: bool = False) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Labels (H, W) uint8 and, with `softmax`, probabilities (C, H, W) float16, of images of equal size."""
        work = [shrunk(image, self.max_edge) for image in images]
        if max(work[0].shape[:2]) <= self.tile or self.settings.geometry != "own":
            shares = self.probabilities(np.stack(work))
            found = zip(shares, work, images, strict=True)
            return [self._finish(share, w, i.shape[:2], softmax) for share, w, i in found]
        return [self._tiled(w, i.shape[:2], softmax) for w, i in zip(work, images, strict=True)]

    def _tiled(self, work: np.ndarray, size: tuple[int, int], softmax: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """As `batch`, for one image by tiles; allocates probabilities of the whole image only if they are needed."""
        keep = softmax or self.settings.crf is not None or work.shape[:2] != size
        shares = np.empty((len(self.class_names), *work.shape[:2]), np.float16) if keep else None
        label = np.empty(work.shape[:2], np.uint8)
        parts = tiled_probabilities(work, lambda window: self.probabilities(window[None])[0], self.tile, MARGIN)
        for place, share in parts:
            label[place] = share.argmax(0)
            if keep:
                shares[:, *place] = share
        return (label, None) if not keep else self._finish(shares, work, size, softmax)

    def _finish(
        self, share: np.ndarray, work: np.ndarray, size: tuple[int, int], softmax: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels and probabilities at the image's size; the CRF runs at the shrunk size."""
        if self.settings.crf is not None:
            label = crf_labels([work], [share.astype(np.float32)], self.settings.crf, self.device)[0]
            if label.shape != size:
                label = np.array(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))
            return label, self._finish_shares(share, size) if softmax else None
        label = share.argmax(0).astype(np.uint8) if share.shape[1:] == size else enlarged_labels(share, size)
        return label, self._finish_shares(share, size) if softmax else None

    @staticmethod
    def _finish_shares(share: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if share.shape[1:] == size:
            return share.astype(np.float16)
        return np.stack([enlarged(plane, size).astype(np.float16) for plane in share])


def load_run(run: Path, device: torch.device, tile: int) -> Predictor:
    """The predictor of a finished run: its network, with the settings of its stage segment.

    Raises:
        ValueError: the run has no network that decodes masks.
    """
    model, applied = network_of(run)
    settings, data = settings_of(applied), settings_of(run / "prepare_data")
    try:
        section = Segment.model_validate(settings)
    except ValidationError as error:
        raise ValueError(f"{applied}: settings of another version ({error.errors()[0]['msg']}); {AGAIN}") from None
    edge = require_keys(run / "prepare_data", {"max_edge": None} | data, max_edge=(int, NoneType))["max_edge"]
    return load_model(model, section, edge, device, tile)


def load_model(file: Path, settings: Segment, max_edge: int | None, device: torch.device, tile: int) -> Predictor:
    """The predictor of a model file. max_edge: pixels to which images are shrunk; None: not at all.

    Raises:
        ValueError: the file is no network that decodes masks.
    """
    model = load_segmenter(file).to(device).to(memory_format=torch.channels_last)
    return Predictor(model, read_about(file)["classes"], settings, max_edge, device, tile)


def adapted(predictor: Predictor, *, fast: bool, classes: Sequence[str], crf: bool) -> Predictor:
    """The predictor with changed settings. fast: one scale, no mirror. classes: those accepted. crf: the run's CRF.

    Raises:
        ValueError: unknown class.
    """
    settings = predictor.settings
    changes: dict[str, Any] = {"crf": (settings.crf or CRF()) if crf else None}
    if fast:
        middle = sorted(settings.scales)[len(settings.scales) // 2]
        changes |= {"scales": [middle], "flip": False}
    chosen = class_ids(predictor.class_names, classes)
    return replace(predictor, settings=settings.model_copy(update=changes), classes=chosen)


def predict(
    predictor: Predictor, images: dict[Path, Path], out: Path, *, batch: int, overlay: bool, softmax: bool
) -> list[tuple[Path, str]]:
    """Writes the masks; returns the unreadable images, each with the reason."""
    palette = voc_palette()
    failed: list[tuple[Path, str]] = []
    _write_csv(out / "classes.csv", TABLES["classes.csv"], _legend(predictor.class_names, palette))
    progress = Progress(len(images), "images")
    for group in _batches(list(images), batch, failed, progress):
        results = predictor.batch([pixels for _, pixels in group], softmax)
        for (path, pixels), (label, shares) in zip(group, results, strict=True):
            targets = products(out / images[path], overlay=overlay, softmax=softmax)
            _write_mask(targets["mask"], label, palette)
            if overlay:
                _write_overlay(targets["overlay"], pixels, label, palette)
            if shares is not None:
                _write_softmax(targets["softmax"], shares)
            progress.update()
    if failed:
        _write_csv(out / "failed.csv", TABLES["failed.csv"], [[str(path), reason] for path, reason in failed])
    else:
        (out / "failed.csv").unlink(missing_ok=True)
    return failed


def _batches(
    paths: list[Path], size: int, failed: list[tuple[Path, str]], progress: Progress
) -> Iterator[list[tuple[Path, np.ndarray]]]:
    """Batches of consecutive images of equal size; unreadable ones are added to `failed`."""
    group: list[tuple[Path, np.ndarray]] = []
    with ThreadPoolExecutor(2) as pool:
        reads = {i: pool.submit(read_image, path) for i, path in enumerate(paths[:READ_AHEAD])}
        for i, path in enumerate(paths):
            if i + READ_AHEAD < len(paths):
                reads[i + READ_AHEAD] = pool.submit(read_image, paths[i + READ_AHEAD])
            try:
                pixels = reads.pop(i).result()
            except ValueError as error:
                log.warning("passed over: %s", one_line(error))
                failed.append((path, str(error)))
                progress.update()
                continue
            if group and (len(group) == size or group[0][1].shape != pixels.shape):
                yield group
                group = []
            group.append((path, pixels))
    if group:
        yield group


def _write_mask(path: Path, label: np.ndarray, palette: np.ndarray) -> None:
    image = Image.fromarray(label)
    image.putpalette(palette.tobytes())
    write_atomically(path, lambda temporary: image.save(temporary, "PNG"))


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


def _write_csv(path: Path, header: Sequence[str], rows: list[list[object]]) -> None:
    # file names may be invalid UTF-8
    write_atomically(path, csv_text([header, *rows]).encode(errors="backslashreplace"))
