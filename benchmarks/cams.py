"""Multi-scale CAM inference of photographs, in two shards as the workflow runs them, against one view at a time."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.v2 import functional as T

from benchmarks.inputs import CLASSES, kit, photographs
from benchmarks.measure import Case, Thunk, largest_difference
from benchmarks.shards import Part, in_shards
from wsss.backbones.timm import TimmBackbone
from wsss.config.views import CamViews
from wsss.data.dataset import Record
from wsss.data.groups import WriteBehind, read_groups, size_groups
from wsss.localise.inference import cam_group, for_inference
from wsss.methods.cam.network import CAM
from wsss.methods.cam.settings import Settings
from wsss.store.writers import ScoreWriter

SCALES = (1.0, 0.5, 1.5, 2.0)


def classifier() -> CAM:
    """MobileNetV2 with the kit's weights if it is there, and a random linear classifier."""
    torch.manual_seed(0)
    weights = str(kit() / "mobilenetv2_100.imagenet.safetensors") if kit() else ""
    backbone = TimmBackbone("mobilenetv2_100", output_stride=16, checkpoint_path=weights, options={"pad_type": "same"})
    return CAM(backbone, [str(i) for i in range(CLASSES + 1)], Settings(name="cam")).eval()


@torch.no_grad()
def one_by_one(model: CAM, record: Record, device: str) -> np.ndarray:
    """Maps (k, H, W) of an image, one forward pass a view."""
    with Image.open(record.image) as file:
        pixels = torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)
    height, width = pixels.shape[1:]
    total = 0
    for scale in SCALES:
        resized = T.resize(pixels, [round(height * scale), round(width * scale)], antialias=True)
        view = T.normalize(resized.float() / 255, list(model.backbone.mean), list(model.backbone.std))[None].to(device)
        maps = model.activation_maps(view) + model.activation_maps(view.flip(-1)).flip(-1)
        padded = [-(-side // 16) * 16 for side in (height, width)]
        total = total + F.interpolate(maps, padded, mode="bilinear", align_corners=False)[0, :, :height, :width]
    total = total[torch.from_numpy(record.labels) > 0]
    return (total / (total.amax((1, 2), keepdim=True) + 1e-5)).cpu().numpy()


def plain(count: int, device: str) -> Thunk:
    folder = tempfile.TemporaryDirectory()
    records, model = photographs(count, Path(folder.name)), classifier().to(device)

    def run() -> list[np.ndarray]:
        found = {}
        for record in records:
            cams = found[record.image_id] = one_by_one(model, record, device)
            np.save(Path(folder.name) / f"{record.image_id}.npy", dict(zip(record.classes.tolist(), cams, strict=True)))
        return [found[name] for name in sorted(found)]

    return run


def infer(records: list[Record], part: slice, file: Path, model: CAM) -> dict[str, np.ndarray]:
    """The stage's work on a part of the groups: image id → CAMs (k, H, W)."""
    found = {}
    names = [str(i) for i in range(CLASSES + 1)]
    with ScoreWriter(file, class_names=names) as out, WriteBehind() as behind:
        for group, images in read_groups(size_groups(records)[part]):
            labels = torch.from_numpy(np.stack([record.labels for record in group]))
            for record, (maps, _) in zip(group, cam_group(model, images, labels, CamViews(scales=SCALES)), strict=True):
                cams = found[record.image_id] = maps.cpu().numpy()
                behind(out.add, record.image_id, record.classes, cams)
    return found


def in_one_process(count: int, device: str) -> Thunk:
    folder = tempfile.TemporaryDirectory()
    records = photographs(count, Path(folder.name))
    model = for_inference(classifier(), torch.device(device))

    def run() -> list[np.ndarray]:
        found = infer(records, slice(None), Path(folder.name) / "cams.h5", model)
        return [found[name] for name in sorted(found)]

    return run


def part_of_photographs(count: int, number: int, shards: int) -> Part:
    """What one shard does with its share of the groups."""
    folder = tempfile.TemporaryDirectory()
    records = photographs(count, Path(folder.name))
    model = for_inference(classifier(), torch.device("cpu"))
    return lambda: infer(records, slice(number, None, shards), Path(folder.name) / "cams.h5", model)


def cases() -> list[Case]:
    return [
        Case(
            "multi-scale CAM inference, 4 scales and mirrors, 2 shards; one view at a time",
            f"{count} photographs",
            count * 320 * 230,
            partial(plain, count),
            partial(in_shards, partial(part_of_photographs, count), 2),
            faster=1.5 if count == 64 else None,
            difference=1e-4,
            compare=largest_difference,
        )
        for count in (16, 64)
    ]


def gpu_cases() -> list[Case]:
    return [
        Case(
            "multi-scale CAM inference, 4 scales and mirrors",
            "64 photographs",
            64 * 320 * 230,
            partial(in_one_process, 64),
            partial(in_one_process, 64),
            faster=4,
            compare=largest_difference,
        )
    ]
