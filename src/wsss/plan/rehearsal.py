"""Dry run of every network of a run on torch's meta device: built without weights, called with a batch of shapes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from wsss.backbones.base import Backbone
from wsss.backbones.build import build_backbone, freeze, freeze_batch_norm
from wsss.backbones.checkpoints import load_published, read_state_dict
from wsss.backbones.stages import stage_channels
from wsss.config import sections
from wsss.config.common import UsesFeatures, settings_below
from wsss.config.run import Run
from wsss.config.sections import Training
from wsss.config.stages import ComputeFeatures, TrainClassifier
from wsss.config.words import Words
from wsss.localise.gradients import localise
from wsss.localise.views import scaled_size
from wsss.methods.base import Method
from wsss.methods.load import build_method
from wsss.methods.words import tower_of
from wsss.plan.checks import named
from wsss.refine.settings import PairTraining
from wsss.runtime.ending import one_line
from wsss.runtime.memory import require_memory
from wsss.segmentation.build import build_segmentation

NAMES = ["background", "first", "second"]
UNFIT = "its weights cannot be used"
REHEARSED = 224
"""Edge in pixels of the images of a classifier that is not trained."""


def check_networks(run: Run, processes: int, where: str) -> None:
    """Builds the networks of a run as its stages do, and calls each with a batch of the size of one process's part.

    processes: number of processes that share a training batch. where: prefix of the stage's name in messages.

    Raises:
        ValueError: a network cannot be built with these settings, or does not accept the batch; names the stage.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if run.compute_features is not None:
            with _built(f"{where}.compute_features"):
                _features(run.compute_features)
        with _built(f"{where}.train_classifier"):
            method = _classifier(run, processes)
        if not isinstance(run.train_classifier.method, UsesFeatures):
            with _built(f"{where}.infer_cam"):
                _localiser(run, method)
        if run.train_affinity is not None and not isinstance(run.train_affinity, UsesFeatures):
            with _built(f"{where}.train_affinity"):
                _affinity(run, method.backbone, processes)
        with _built(f"{where}.refine_cam"):
            _stages(method.backbone, run.refine_cam)
        if run.train_segmentation is not None:
            with _built(f"{where}.train_segmentation"):
                _segmentation(run, method.backbone, processes)
        _weights(run, where)


@contextmanager
def _built(where: str, problem: str = "the network cannot be built with these settings") -> Iterator[None]:
    """Context that makes every error by which a network refuses settings or weights a ValueError that names them."""
    with named(where):
        try:
            yield
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError) as error:
            reason = one_line(f"{type(error).__name__}: {error}")
            raise ValueError(f"{problem} ({reason})") from error


def _weights(run: Run, where: str) -> None:
    """Loads every weights file that is there into its network; others are downloaded later."""
    given = {backbone.model_dump_json(): (key, backbone) for key, backbone in settings_below(run, sections.Backbone)}
    for key, backbone in given.values():
        if backbone.checkpoint is not None and backbone.checkpoint.path.is_file():
            with _built(f"{where}.{key}.checkpoint", UNFIT):
                build_backbone(backbone)
    _classifier_files(run.train_classifier, f"{where}.train_classifier")
    affinity = run.train_affinity
    published = getattr(affinity, "checkpoint", None)
    if published is not None and published.path.is_file():
        with _built(f"{where}.train_affinity.checkpoint", UNFIT):
            own = getattr(affinity, "backbone", None) or run.train_classifier.backbone
            load_published(affinity.load()(affinity).build(build_backbone(own, weights=False)), published.path)


def _classifier_files(settings: TrainClassifier, where: str) -> None:
    """Reads the files of a method that fit only with the classes of the data: of its weights and of its text tower."""
    if settings.checkpoint is not None and settings.checkpoint.path.is_file():
        with _built(f"{where}.checkpoint", UNFIT):
            read_state_dict(settings.checkpoint.path)
    if isinstance(words := settings.method, Words):
        own = words.text_checkpoint
        file, key = (own, "method.text_checkpoint") if own else (settings.backbone.checkpoint, "backbone.checkpoint")
        if file is None or file.path.is_file():
            with _built(f"{where}.{key}", UNFIT):
                tower_of(file and file.path, quick_gelu=True)


def _features(settings: ComputeFeatures) -> None:
    with torch.device("meta"):
        backbone = build_backbone(settings.backbone, weights=False)
    _stages(backbone, settings)


def _stages(backbone: Backbone, section: Any) -> None:
    """Raises ValueError for outputs that the network lacks; of stored ones the configuration knows."""
    if not (isinstance(section, UsesFeatures) and section.uses_features):
        for stage in getattr(section, "stages", ()):
            stage_channels(backbone, stage)


def _classifier(run: Run, processes: int) -> Method:
    settings = run.train_classifier
    with torch.device("meta"):
        model = build_method(settings, NAMES, weights=False)
    if settings.training is not None:
        freeze(model.backbone, settings.training)
        _rehearse(model, model.logits, settings.training, processes, model.crop_scales)
        model.require_batch(_share(settings.training, processes), settings.training.augment.crop)
    return model


def _localiser(run: Run, method: Method) -> None:
    """Localises as infer_cam does, on meta tensors of images of the size of a training crop."""
    training = run.train_classifier.training
    edge = run.infer_cam.edge or (max(training.augment.crop, 64) if training else REHEARSED)
    method.eval()
    with suppress(NotImplementedError, RuntimeError), torch.device("meta"):  # some need values
        localise(method, torch.zeros(2, 3, edge, edge), run.infer_cam.localiser)


def _affinity(run: Run, backbone: Backbone, processes: int) -> None:
    settings = run.train_affinity
    training = settings.load()(settings)
    own = getattr(settings, "backbone", None)
    with torch.device("meta"):
        model = training.build(build_backbone(own, weights=False) if own else backbone)
    if settings.checkpoint is None:
        training.head_parameters(model)
        _rehearse(model, model, settings.training, processes)
        if isinstance(settings, PairTraining):
            _require_pairs(settings)


def _require_pairs(settings: PairTraining) -> None:
    """Raises ValueError if no pair of cells of a crop is compared."""
    crop, stride, radius = settings.training.augment.crop, settings.stride, settings.radius
    cells, least = -(-crop // stride), 2 * radius - 1 if settings.inner_pairs else 2
    if cells < least:
        raise ValueError(
            f"training.augment.crop {crop} has {cells} × {cells} cells of stride {stride}, and pairs of radius {radius}"
            f"{' within it (inner_pairs)' if settings.inner_pairs else ''} need {least}; take a larger crop"
        )


def _segmentation(run: Run, trained: Backbone, processes: int) -> None:
    settings = run.train_segmentation
    with torch.device("meta"):
        backbone = trained if settings.init == "classifier" else build_backbone(settings.backbone, weights=False)
        if settings.training.freeze_stages is not None:
            backbone.freeze(settings.training.freeze_stages)
        model = build_segmentation(settings, len(NAMES), backbone)
    if settings.training.freeze_batch_norm:
        freeze_batch_norm(model.encoder)
    _rehearse(model, model, settings.training, processes)


def _rehearse(
    model: nn.Module,
    forward: Callable[[Any], Any],
    training: Training,
    processes: int,
    scales: Collection[float] = (1.0,),
) -> None:
    """Calls `forward` in training mode on meta tensors of images (b, 3, crop, crop), and of their views at `scales`."""
    share, crop = _share(training, processes), training.augment.crop
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    require_memory("the network", weights, "take a smaller one")
    for scale in dict.fromkeys((1.0, min(scales), max(scales))):
        edge = scaled_size((crop, crop), scale, "floor")[0]
        crops = f"{share} crop(s) of {crop} px{f' at scale {scale:g}' if scale != 1 else ''}"
        require_memory(f"a batch of {crops}", share * 3 * edge**2 * 4, "take smaller crops, scales or batches")
        try:
            with torch.device("meta"):
                model.train()
                forward(torch.zeros(share, 3, edge, edge))
        except NotImplementedError:  # the network needs values, which meta tensors do not have
            return
        except (ValueError, RuntimeError, AssertionError, TypeError, IndexError) as error:
            if "scalarType" in str(error):  # autocast does not support the meta device
                return
            if "more than 1 value per channel" in str(error):
                raise ValueError(_one_image(training, processes)) from error
            raise ValueError(f"the network refuses {crops} in training: {error}") from error


def _share(training: Training, processes: int) -> int:
    """Images of a training batch that a network sees at a time; ValueError if a batch cannot be cut evenly."""
    share, rest = divmod(training.batch_size, training.accumulate * processes)
    if rest:
        raise ValueError(
            f"batch_size {training.batch_size} cannot be cut into {training.accumulate} (training.accumulate) × "
            f"{processes} (execution.processes) equal shares"
        )
    return share


def _one_image(training: Training, processes: int) -> str:
    parts = training.accumulate * processes
    return (
        f"BatchNorm cannot train on one value a channel: batch_size {training.batch_size} in {parts} part(s) leaves "
        f"{training.batch_size // parts} image(s) at a time; take fewer parts (training.accumulate) or a larger batch"
    )
