"""Pseudo-labels from score maps: optional PAR or PAMR and DenseCRF, then the argmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wsss.config.sections import PAR
from wsss.config.stages import MakePseudoLabels
from wsss.measure.scoremaps import balanced, winner, with_background
from wsss.refine.crf.dense import crf_marginal_group, crf_score_group
from wsss.store.maps import ScoreMap

if TYPE_CHECKING:
    import torch


def completed(maps: ScoreMap, threshold: float | None, settings: MakePseudoLabels) -> ScoreMap:
    """Maps with a background map: added by threshold or power, or their own, reweighted if a threshold is given."""
    if 0 in maps.classes and threshold is not None:
        maps = balanced(maps, threshold)
    return with_background(maps, threshold, settings.background_power)


def pseudo_labels(
    images: Sequence[np.ndarray], maps: Sequence[ScoreMap], settings: MakePseudoLabels, device: str | torch.device
) -> list[np.ndarray]:
    """Labels (H, W) uint8 of maps that include the background; ties go to the lowest class.

    images: (H, W, 3) uint8, of equal size. device: of the CRF.
    """
    if settings.par is not None:
        shares = [refine_by_par(i, _shares(m), settings.par) for i, m in zip(images, maps, strict=True)]
        maps = [ScoreMap(m.classes, s) for m, s in zip(maps, shares, strict=True)]
    if settings.confidence is not None:
        return [confident(i, m, settings, device) for i, m in zip(images, maps, strict=True)]
    if settings.crf is None:
        return [winner(found) for found in maps]
    classes, shares = [m.classes.tolist() for m in maps], [_shares(m) for m in maps]
    return crf_score_group(images, classes, shares, settings.crf, device)


def confident(image: np.ndarray, maps: ScoreMap, settings: MakePseudoLabels, device: str | torch.device) -> np.ndarray:
    """Labels (H, W) uint8 by the highest share, after the CRF if any; 255 where it is below `settings.confidence`."""
    import torch

    from wsss.localise.seeds import confidence_labels

    shares = _shares(maps)
    if settings.crf is not None:
        (shares,) = crf_marginal_group([image], [shares], settings.crf, device)
    classes = torch.from_numpy(np.asarray(maps.classes, np.int64))
    return confidence_labels(torch.from_numpy(shares), classes, settings.confidence).numpy()


def refine_by_par(image: np.ndarray, shares: np.ndarray, settings: PAR) -> np.ndarray:
    """Class shares (L, H, W) refined by PAR or PAMR to the image (H, W, 3) uint8."""
    import torch

    from wsss.refine.par import pamr, par

    refine = {"par": par, "pamr": pamr}[settings.kernel]
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return refine(pixels, torch.from_numpy(shares)[None], settings.dilations, settings.iterations)[0].numpy()


def _shares(scores: ScoreMap) -> np.ndarray:
    """Scores (L, H, W) normalised to sum 1 at every pixel with a non-zero score."""
    return scores.scores / np.maximum(scores.scores.sum(0), 1e-5)
