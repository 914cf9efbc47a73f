"""Whether the networks of a run take the views of its images: told before anything is trained, not in inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wsss.backbones.build import build_backbone
from wsss.config.common import Decodes, UsesFeatures
from wsss.config.run import Run
from wsss.config.views import Views
from wsss.data.dataset import Dataset
from wsss.localise.views import Size, base_size, scaled_size
from wsss.methods.load import build_method
from wsss.plan.checks import named
from wsss.runtime.ending import one_line
from wsss.runtime.memory import require_memory
from wsss.segmentation.build import build_segmentation

TRIED = 4
"""Largest number of sizes of views that a network is tried with."""


class User(NamedTuple):
    """A section of inference. network: builds what it applies; splits: of the images that it is applied to."""

    key: str
    views: Views
    network: Callable[[], Callable[[Tensor], object]]
    splits: Sequence[str] = ("train", "val")


def check_views(run: Run, dataset: Dataset, where: str) -> None:
    """Calls every network of a run with views of zeros, from the smallest that inference will show to it.

    Raises:
        ValueError: it refuses one, or the largest needs more than this machine's memory; names the section below
            `where`.
    """
    for user in _users(run, dataset.class_names):
        sizes = {record.size for split in user.splits for record in dataset.split(split)}
        if sizes:
            with named(f"{where}.{user.key}.scales"):
                _check(user, _shapes(sizes, user.views))


def _users(run: Run, names: Sequence[str]) -> Iterator[User]:
    classifier, segmentation = run.train_classifier, run.train_segmentation
    if run.compute_features is not None:
        backbone = run.compute_features.backbone
        yield User("compute_features", run.compute_features, lambda: build_backbone(backbone, weights=False).eval())
    if not isinstance(classifier.method, UsesFeatures):
        yield User("infer_cam", run.infer_cam, lambda: build_method(classifier, names, weights=False).eval().logits)
    if isinstance(classifier.method, Decodes):
        views = run.segment_end_to_end or run.segment
        key = "segment_end_to_end" if run.segment_end_to_end else "segment"
        yield User(key, views, lambda: build_method(classifier, names, weights=False).eval().segment_logits, ("val",))
    if segmentation is not None and not segmentation.uses_features:
        yield User("segment", run.segment, lambda: build_segmentation(segmentation, len(names)).eval(), ("val",))


def _shapes(sizes: set[Size], views: Views) -> list[Size]:
    """Height and width of all views of images of these sizes, from the one with the shortest side on."""
    bases = {base_size(size, views) for size in sizes}
    return sorted({scaled_size(base, scale, views.rounding) for base in bases for scale in views.scales}, key=min)


def _check(user: User, shapes: list[Size]) -> None:
    height, width = max(shapes, key=lambda shape: shape[0] * shape[1])
    count = 2 if user.views.flip else 1
    require_memory(
        f"a view of {height} × {width} (height × width)", count * 3 * height * width * 4, "take smaller ones"
    )
    with torch.device("meta"):
        network = user.network()
    for shape in shapes[:: len(shapes) // TRIED + 1]:
        if _refusal(network, shape, "meta") and (reason := _refusal(user.network(), shape, "cpu")):
            raise ValueError(
                f"the network refuses a view of {shape[0]} × {shape[1]} (height × width): {reason}; take larger "
                "scales, or a network for images of any size"
            )


@torch.no_grad()
def _refusal(network: Callable[[Tensor], object], size: Size, device: str) -> str | None:
    """The error by which a network refuses an image of a size; None if it takes it."""
    try:
        network(torch.zeros(1, 3, *size, device=device))
    except Exception as error:  # networks raise many types
        return one_line(f"{type(error).__name__} {error}")
    return None
