"""Use of single-stage methods as segmentation networks."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from wsss.methods.base import DecodesMasks
from wsss.methods.load import load_classifier
from wsss.segmentation.load import load_segmentation
from wsss.segmentation.network import Segmenter
from wsss.store.about import read_about


class EndToEnd(nn.Module):
    """A single-stage method as a segmentation network: normalised images (B, 3, H, W) → logits (B, C, h, w)."""

    def __init__(self, method: DecodesMasks) -> None:
        super().__init__()
        self.method, self.mean, self.std = method, method.backbone.mean, method.backbone.std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.method.segment_logits(images)


def load_segmenter(path: Path) -> Segmenter | EndToEnd:
    """The network of a model file that decodes masks: a segmentation network, or a single-stage method.

    Raises:
        ValueError: the file is of another kind, or of a classifier that decodes no masks.
    """
    if read_about(path)["kind"] != "classifier":
        return load_segmentation(path)
    method = load_classifier(path)
    if not isinstance(method, DecodesMasks):
        raise ValueError(f"{path}: {type(method).__name__} decodes no masks")
    return EndToEnd(method)
