"""Every number of every section, found in the registries: extremes are refused, or computed with to the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ValidationError

from wsss.config.loading import models_in
from wsss.config.run import Execution, Run
from wsss.config.sections import CRF, PAR
from wsss.methods.toco.settings import Settings as ToCo
from wsss.refine.affinitynet.settings import Labels
from wsss.refine.affinitynet.settings import Settings as Walk
from wsss.refine.crf.dense import crf_marginal_group
from wsss.refine.irnet.settings import Labels as BoundaryLabels
from wsss.refine.par import par
from wsss.refine.propagation.settings import Settings as Propagation
from wsss.refine.propagation.spread import propagate_maps
from wsss.refine.walk import half_plane_offsets, random_walk

REFUSED = [float("inf"), float("nan"), 1e300, 1e-300, -(10**12), 2**70]
ENDS = [0, 1e-12, 0.01, 1, 1000, 10**4, 10**8]
NEEDED = {"backbone": {"name": "test_resnet"}, "prepare_data": {"dataset": "shapes"}, "prompts": {}, "miou": 1}
NEEDED |= {"rows": []}


def below(model: type[BaseModel], seen: dict[type[BaseModel], None]) -> dict[type[BaseModel], None]:
    """A section and all below it, those of every choice."""
    if model not in seen:
        seen[model] = None
        for field in model.model_fields.values():
            for inner in models_in(field.annotation):
                below(inner, seen)
    return seen


def members(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from members(inner)


def base_of(model: type[BaseModel]) -> dict[str, Any]:
    """Settings that the section accepts, with its tag."""
    needed = {name: field.annotation for name, field in model.model_fields.items() if field.is_required()}
    return {name: NEEDED.get(name, (*get_args(found), "x")[0]) for name, found in needed.items()}


def numbers(model: type[BaseModel]) -> list[str]:
    """The settings that hold numbers, alone or in lists."""
    fields = model.model_fields.items()
    return [name for name, field in fields if any(found in (int, float) for found in members(field.annotation))]


SECTIONS = [model for model in (*below(Run, {}), *below(Execution, {})) if numbers(model)]


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_numbers_without_meaning_are_refused_in_every_section(model):
    base = base_of(model)
    model.model_validate(base)
    for name in numbers(model):
        for value in REFUSED:
            for given in (value, *([value] * count for count in range(1, 5)), {"seg": value}):
                with pytest.raises(ValidationError, match=name):
                    model.model_validate(base | {name: given})


GENERATOR = np.random.default_rng(0)
IMAGE = GENERATOR.integers(0, 255, (12, 16, 3), dtype=np.uint8)
SHARES = GENERATOR.dirichlet(np.ones(3), (12, 16)).transpose(2, 0, 1).astype(np.float32)


def walked(settings: Walk) -> torch.Tensor:
    offsets = half_plane_offsets(2)
    maps = torch.from_numpy(SHARES)[:, ::4, ::4]
    affinity = torch.rand(len(offsets), *maps.shape[1:], generator=torch.Generator().manual_seed(0))
    seeds = torch.cat([(1 - maps.amax(0, keepdim=True)) ** settings.alpha, maps])
    return random_walk(seeds[None], affinity[None], offsets, settings.beta, settings.steps)


def refined(settings: PAR) -> torch.Tensor:
    pixels, shares = torch.from_numpy(IMAGE).permute(2, 0, 1)[None], torch.from_numpy(SHARES)[None]
    return par(pixels, shares, settings.dilations, settings.iterations)


COMPUTED = {
    CRF: lambda settings: crf_marginal_group([IMAGE], [SHARES], settings),
    PAR: refined,
    Walk: walked,
    Propagation: lambda settings: propagate_maps(torch.full((4, 12, 16), 0.5), torch.from_numpy(SHARES), settings),
}


@pytest.mark.parametrize("model", COMPUTED)
def test_what_is_accepted_is_computed_with_at_both_ends(model):
    for name in model.model_fields:
        accepted = []
        for value in (*ENDS, *([value] for value in ENDS)):
            try:
                accepted.append(model.model_validate(base_of(model) | {name: value}))
            except ValidationError:
                continue
        for settings in accepted[:1] + accepted[-1:]:
            assert np.isfinite(np.asarray(COMPUTED[model](settings))).all(), (name, settings)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (PAR, {"dilations": [1, 2, 1]}),
        (PAR, {"dilations": [10_000]}),
        (Propagation, {"method": "propagation", "stages": [-1, -1]}),
        (Labels, {"method": "affinitynet", "low_alpha": 24, "high_alpha": 4}),
        (BoundaryLabels, {"method": "irnet", "foreground_threshold": 0.05, "background_threshold": 0.3}),
        (Run, NEEDED | {"infer_cam": {"scales": [1, 0.5, 1]}}),
        (Run, NEEDED | {"infer_cam": {"fusion": "clip_es", "scales": [1, 0.5]}}),
        (ToCo, {"name": "toco", "weights": {"cls": 0}}),
    ],
)
def test_lists_and_pairs_that_nobody_means(model, given):
    told = "each value once|less than or equal to 1000|in this order|takes one scale|accepted: above 0"
    with pytest.raises(ValidationError, match=told):
        model.model_validate(given)
