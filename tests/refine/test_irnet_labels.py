"""Confident labels: what each threshold may say, and that nothing depends on the CRF's backend."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from wsss.config.sections import CRF
from wsss.refine.irnet.labels import confident_label_group
from wsss.refine.irnet.settings import Labels
from wsss.store.maps import ScoreMap


@pytest.fixture
def scene():
    """An image of two flat squares on a flat ground, and CAMs that peak inside them; classes 5 and 10."""
    image = torch.full((40, 60, 3), 60, dtype=torch.uint8)
    image[10:30, 5:25], image[10:30, 35:55] = 160, 230
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    cams = torch.stack([torch.exp(-((y - 20) ** 2 + (x - cx) ** 2) / 60) for cx in (15, 45)])
    return image, cams, torch.tensor([5, 10])


def labelled(image, cams, classes, backend="torch", **thresholds):
    crf = CRF(bilateral_sxy=50, bilateral_srgb=5, backend=backend)
    settings = Labels(method="irnet", crf=crf, **thresholds)
    (found,) = confident_label_group([image.numpy()], [ScoreMap(classes.numpy(), cams.numpy())], settings)
    return found


def test_objects_keep_their_class_and_far_ground_is_background(scene):
    labels = labelled(*scene).combined
    assert labels.dtype == torch.uint8
    assert (labels[15:25, 10:20] == 5).all()
    assert (labels[15:25, 40:50] == 10).all()
    assert (labels[:3] == 0).all()


def test_255_lies_exactly_between_the_two_thresholds(scene):
    labels = labelled(*scene, foreground_threshold=0.9, background_threshold=0.01)
    between = (labels.foreground == 0) & (labels.background != 0)
    assert torch.equal(labels.combined == 255, between)
    assert torch.equal(labels.combined == 0, (labels.foreground == 0) & (labels.background == 0))


def test_an_image_without_classes_is_background():
    image = torch.zeros(8, 9, 3, dtype=torch.uint8)
    labels = labelled(image, torch.zeros(0, 8, 9), torch.zeros(0, dtype=torch.long))
    assert not labels.combined.any()


@pytest.mark.skipif(importlib.util.find_spec("pydensecrf") is None, reason="pydensecrf is not installed")
def test_backends_agree(scene):
    ours, theirs = (labelled(*scene, b).combined for b in ("torch", "pydensecrf"))
    assert (ours == theirs).float().mean() > 0.999
