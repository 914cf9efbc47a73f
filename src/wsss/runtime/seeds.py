"""Derivation of random seeds, and the random order of a training run."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed, a digest of the parts; similar parts give unrelated seeds."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) >> 1


def drawn(number: int, count: int, rng_seed: int) -> int:
    """Which of `count` items is number `number` since the start of training; each epoch has all in its own order."""
    epoch, position = divmod(number, count)
    return int(_order(rng_seed, epoch, count)[position])


@lru_cache(maxsize=4)
def _order(rng_seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([rng_seed, epoch]).permutation(count)
