"""Random walks: IRNet's and AffinityNet's, against squaring the dense transition matrix as published."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks.inputs import smooth
from benchmarks.measure import Case, Thunk, largest_difference
from wsss.refine.irnet.network import walk_to_boundary
from wsss.refine.irnet.paths import boundary_affinity, path_offsets
from wsss.refine.walk import half_plane_offsets, random_walk, sparse_transition

IRN = {"radius": 5, "beta": 10, "steps": 256}
PSA = {"beta": 8, "steps": 64}


def irn_inputs(height: int, width: int, count: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """CAMs (count, 2, h, w) and boundaries (count, h, w) with ridges between regions."""
    rng = np.random.default_rng(0)
    cams = torch.stack([smooth(rng, 2, height, width, 4) for _ in range(count)])
    fields = smooth(rng, count, height, width, 12)
    boundaries = torch.exp(-(((fields - 0.5) / 0.03) ** 2)) * 0.95 + 0.02
    return cams.to(device), boundaries.to(device)


def squared(affinity: torch.Tensor, offsets: torch.Tensor, beta: float, steps: int) -> torch.Tensor:
    """Dense T^steps (N, N) of one image's stencil, by repeated squaring."""
    transition = sparse_transition(affinity, offsets, beta).to_dense().T
    for _ in range(steps.bit_length() - 1):
        transition = transition @ transition
    return transition


def irn_plain(height: int, width: int, device: str) -> Thunk:
    cams, boundary = irn_inputs(height, width, 1, device)

    def run() -> torch.Tensor:
        affinity = boundary_affinity(boundary, IRN["radius"])
        transition = squared(affinity, path_offsets(IRN["radius"]), IRN["beta"], IRN["steps"])
        return ((cams[0] * (1 - boundary)).flatten(1) @ transition).view(cams.shape)

    return run


def irn_ours(height: int, width: int, count: int, device: str) -> Thunk:
    cams, boundary = irn_inputs(height, width, count, device)
    return lambda: torch.stack(list(walk_to_boundary(list(cams), boundary, **IRN)))


def psa_inputs(height: int, width: int, count: int, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores (count, 21, h, w), affinities (count, 34, h, w) and their offsets."""
    rng = np.random.default_rng(1)
    scores = torch.stack([smooth(rng, 21, height, width, 4) for _ in range(count)])
    offsets = half_plane_offsets(5)
    affinity = torch.stack([smooth(rng, len(offsets), height, width, 8) for _ in range(count)])
    return scores.to(device), affinity.to(device), offsets.to(device)


def psa_plain(height: int, width: int, device: str) -> Thunk:
    scores, affinity, offsets = psa_inputs(height, width, 1, device)

    def run() -> torch.Tensor:
        transition = squared(affinity, offsets, PSA["beta"], PSA["steps"])
        return (scores[0].flatten(1) @ transition).view(scores.shape)

    return run


def psa_ours(height: int, width: int, count: int, device: str) -> Thunk:
    scores, affinity, offsets = psa_inputs(height, width, count, device)
    return lambda: random_walk(scores, affinity, offsets, **PSA)


def cases() -> list[Case]:
    """The size 188×250 is beyond what can be squared."""
    found = []
    for height, width in ((30, 40), (47, 63), (94, 125), (188, 250)):
        wanted = {"faster": 500, "megabytes": 150} if (height, width) == (94, 125) else {}
        found.append(
            Case(
                "IRN walk, 2 classes, 256 steps; dense squaring",
                f"{height}×{width}",
                height * width,
                partial(irn_plain, height, width) if height < 188 else None,
                partial(irn_ours, height, width, 1),
                compare=largest_difference,
                difference=5e-4,
                **wanted,
            )
        )
    for height, width in ((24, 32), (47, 63), (94, 125)):
        found.append(
            Case(
                "AffinityNet walk, 21 channels, 64 steps; dense squaring",
                f"{height}×{width}",
                height * width,
                partial(psa_plain, height, width) if height < 94 else None,
                partial(psa_ours, height, width, 1),
                compare=largest_difference,
                difference=5e-4,
                faster=10 if height == 47 else None,
            )
        )
    return found


def gpu_cases() -> list[Case]:
    return [
        Case(
            f"IRN walk, 2 classes, 256 steps, {count} image(s)",
            "94×125",
            count * 94 * 125,
            partial(irn_ours, 94, 125, count),
            partial(irn_ours, 94, 125, count),
            faster=20,
            difference=1e-4,
            compare=largest_difference,
        )
        for count in (1, 8)
    ]
