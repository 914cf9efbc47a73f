"""Train/val split with equal class shares (iterative stratification, Sechidis et al. 2011, §3)."""

from __future__ import annotations

import numpy as np


def stratified_split(labels: np.ndarray, val_fraction: float, rng_seed: int) -> np.ndarray:
    """(N,) bool, True for val, of labels (N, K) in {0, 1}.

    Repeatedly, the images of the rarest remaining class are assigned, each to the side that lacks the class most;
    images without a class come last. A class's only image goes to train. Equal seeds give equal splits.

    Raises:
        ValueError: fewer than two images, or a fraction outside (0, 1).
    """
    count = len(labels)
    if count < 2 or not 0 < val_fraction < 1:
        raise ValueError(f"cannot split {count} image(s) with val_fraction {val_fraction}; accepted: ≥ 2 and (0, 1)")
    order = np.random.default_rng(rng_seed).permutation(count)
    labels = labels.astype(bool)
    share = np.array([1 - val_fraction, val_fraction])
    wanted = share[:, None] * labels.sum(0)  # (side, class), images still to assign
    room = share * count
    side = np.full(count, -1)

    def deal(image: int, to: int) -> None:
        side[image] = to
        wanted[to, labels[image]] -= 1
        room[to] -= 1

    only = labels & (labels.sum(0) == 1)
    for image in order[only[order].any(1)]:
        deal(image, 0)
    while (remaining := labels[side < 0].sum(0)).any():
        rarest = np.argmin(np.where(remaining > 0, remaining, count + 1))
        for image in order[(side[order] < 0) & labels[order, rarest]]:
            need = wanted[:, rarest]
            deal(image, int(np.argmax(room if np.isclose(*need) else need)))
    for image in order[side[order] < 0]:
        deal(image, int(np.argmax(room)))
    _fill_empty_side(side, order)
    return side == 1


def _fill_empty_side(side: np.ndarray, order: np.ndarray) -> None:
    """Moves an image to a side without any."""
    for missing in (0, 1):
        if not (side == missing).any():
            side[order[-1]] = missing
