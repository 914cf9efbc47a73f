"""A segmentation network as an ONNX file, compared with PyTorch before it is written."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wsss.runtime.files import write_atomically
from wsss.segmentation.frozen import FrozenTokens
from wsss.segmentation.load import load_segmentation

SIZES = ((1, 256, 320), (2, 97, 130), (1, 33, 500))
"""(B, H, W) of the check, all different from the size used for tracing."""
TOLERANCE = 1e-3
"""Largest accepted difference of logits."""
AGREEMENT = 0.999
"""Smallest accepted share of pixels with equal labels."""


class Exportable(nn.Module):
    """A segmentation network that takes RGB in 0..1."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(model.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(model.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.model((images - self.mean) / self.std)


def export_onnx(model_file: Path, target: Path, views: Mapping[str, Any] | None = None) -> list[dict[str, float]]:
    """Writes `target` if it agrees with PyTorch; returns the differences at each size.

    views: how the run segments images, written into the metadata.

    Raises:
        ValueError: not a segmentation network, or the exported one differs.
    """
    model = load_segmentation(model_file)
    if isinstance(model, FrozenTokens):
        raise ValueError(
            f"{model_file}: positions of a transformer follow each image's size, which an ONNX graph for any size "
            "cannot compute; use wsss predict or load_segmentation"
        )
    network = Exportable(model).eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        _trace(network, file, {"classes": model.class_names} | ({"views": views} if views else {}))
        found = [compare(network, file, size) for size in SIZES]
        worst = max(f["difference"] for f in found), min(f["agreement"] for f in found)
        if worst[0] > TOLERANCE or worst[1] < AGREEMENT:
            raise ValueError(
                f"{model_file}: ONNX differs from PyTorch by {worst[0]:.2g} in logits, {100 * worst[1]:.2f} % of "
                f"labels agree; accepted are {TOLERANCE} and {100 * AGREEMENT} %"
            )
        write_atomically(target, file.read_bytes())
    return found


def _trace(network: nn.Module, file: Path, about: Mapping[str, Any]) -> None:
    import onnx

    dynamic = {"images": {0: "batch", 2: "height", 3: "width"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.rand(2, 3, 72, 104),),
            file,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes=dynamic | {"logits": dynamic["images"]},
            dynamo=False,
        )
    graph = onnx.load(file)
    onnx.helper.set_model_props(graph, {name: json.dumps(value, ensure_ascii=False) for name, value in about.items()})
    onnx.save(graph, file)


@torch.inference_mode()
def compare(network: nn.Module, file: Path, size: tuple[int, int, int]) -> dict[str, float]:
    """Largest difference of logits and share of equal labels on noise of a size (B, H, W)."""
    import onnxruntime

    images = torch.rand(size[0], 3, *size[1:], generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    theirs = session.run(["logits"], {"images": images.numpy()})[0]
    ours = network(images).numpy()
    if theirs.shape != ours.shape:
        raise ValueError(f"ONNX gives {theirs.shape} where PyTorch gives {ours.shape}")
    same = float((theirs.argmax(1) == ours.argmax(1)).mean())
    return {"difference": float(np.abs(theirs - ours).max()), "agreement": same}
