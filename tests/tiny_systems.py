"""Published systems scaled to seconds, on six images in VOC's or COCO's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tiny_clip import BACKBONE as CLIP
from tiny_clip import save_clip
from wsss.config.loading import merge
from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.store import write_masks

SIZE = (64, 80)  # of which the smallest view, half as large, is a MiT's least
CNN = {"name": "test_resnet", "output_stride": 8, "pretrained": False, "checkpoint": None, "options": {}}
IRN = {"name": "irn_resnet26", "output_stride": None, "pretrained": False, "checkpoint": None}
VIT = {"name": "test_vit", "pretrained": False, "options": {"img_size": 64}}
DINO = {"pretrained": False, "options": {"img_size": 56, "embed_dim": 24, "depth": 2, "num_heads": 2}}
MIT = {"pretrained": False, "checkpoint": None, "name": "mit_b0"}
NARROW = {"hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 1, 2, 2], "depths": [1, 1, 1, 2]}


def training(crop: int, steps: int, **augment: Any) -> dict[str, Any]:
    """Steps of the published batch size on four images."""
    return {"epochs": steps, "augment": {"crop": crop, **augment}}


def affinity(backbone: dict[str, Any], crop: int, batch: int, **changes: Any) -> dict[str, Any]:
    return {"backbone": backbone, "training": {**training(crop, 1), "batch_size": batch}, **changes}


SEGMENTATION = {"backbone": CNN, "training": {**training(64, 2), "batch_size": 2}}
PSA_LIKE = {
    "train_classifier": {"backbone": CNN, "training": {**training(64, 2, longest_edge=[64, 96]), "batch_size": 2}},
    "train_affinity": affinity(CNN, 96, 2, radius=3, channels=[8, 8, 16]),
    # ResNet-38 itself, whose BatchNorm moves here: a small share of its work on such crops
    "train_segmentation": {"backbone": {"checkpoint": None}, "training": {**training(64, 0.5), "batch_size": 2}},
}
IRN_LIKE = {
    "train_affinity": affinity(IRN, 96, 2, radius=3),
    "train_segmentation": SEGMENTATION,
}
VIT_TRAINING = {"backbone": VIT, "training": {**training(64, 4), "batch_size": 4}}
SCALED: dict[str, dict[str, Any]] = {
    "seam": PSA_LIKE,
    "psa": PSA_LIKE,
    "irn": IRN_LIKE
    | {"train_classifier": {"backbone": IRN, "training": {**training(64, 2, longest_edge=[48, 96]), "batch_size": 2}}},
    "afa": {
        "train_classifier": {
            "backbone": MIT | {"options": NARROW},
            "method": {"warmup_steps": 1, "refined_steps": 2, "decoder_width": 16},
            "training": {**training(64, 4), "batch_size": 4, "stop_after": 3},
        },
        "segment_end_to_end": {"edge": 96},
    },
    "toco": {
        "train_classifier": VIT_TRAINING
        | {"method": {"starts": {"seg": 2, "energy": 2}, "crop_size": 32, "projection": [32, 16, 24]}},
        "infer_cam": {"edge": 64},
    },
    "acr": IRN_LIKE
    | {
        "train_classifier": {
            "backbone": VIT | {"options": {"img_size": 64, "sigma_eps": None}},
            "training": training(64, 0.75, longest_edge=[58, 73]),
        },
        "infer_cam": {"edge": 64},
    },
    "weclip": {
        "train_classifier": {
            "backbone": {"checkpoint": "clip.safetensors", "options": CLIP["options"]},
            "method": {
                "width": 16,
                "layers": 1,
                "heads": 2,
                "affinity_blocks": 2,
                "early_blocks": 3,
                "refined_steps": 2,
            },
            "training": {**training(64, 4), "batch_size": 4},
        },
    },
}
FOUNDATION: dict[str, dict[str, Any]] = {
    "clip-es": {
        "train_classifier": {
            "backbone": {"checkpoint": "clip.safetensors", "options": CLIP["options"]},
            "method": {"affinity_blocks": 2},
        },
        "make_pseudo_labels": {"confidence": 0.6, "crf": {"steps": 1}},
        "train_segmentation": {**SEGMENTATION, "backbone": CNN | {"output_stride": 16}},
        "segment": {"scales": [1.0]},
        "measure_cam_crf": False,
    },
    "dino-propagation": {
        "compute_features": {"backbone": DINO},
        "train_classifier": {"backbone": DINO, "method": {"steps": 20}},
        "train_segmentation": {
            "backbone": DINO,
            "options": {"width": 16, "heads": 2, "layers": 1},
            "training": {"epochs": 2, "batch_size": 2},
        },
        "segment": {"scales": [1.0]},
        "measure_cam_crf": False,
    },
}
PLUS = {"refined_steps": 0, "second": {"backbone": DINO, "confident_steps": 2}}
COCO: dict[str, dict[str, Any]] = {
    "afa-coco": {"train_classifier": {"training": {"stop_after": None}}},
    "toco-coco": {
        "train_classifier": {
            "method": {"starts": {"seg": 1, "energy": 1, "ptc": 2, "ctc": 2}, "aux_labels_until": 2},
        },
        "segment_end_to_end": {"edge": 64},
    },
    "acr-coco": {},
    "weclip-coco": {},
}
CHANGED: dict[str, dict[str, Any]] = {**COCO, "weclip-plus": {"train_classifier": {"method": PLUS}}}
CHANGED |= {"weclip-plus-coco": CHANGED["weclip-plus"], "toco-dagger-coco": CHANGED["toco-coco"]}
EXTRA = {
    "toco-dagger": "toco",
    "toco-dagger-coco": "toco",
    **{name: name.removesuffix("-coco") for name in COCO},
    "weclip-plus": "weclip",
    "weclip-plus-coco": "weclip",
}
"""Presets that stand on another: its scaling is theirs, with what they set themselves."""


def scene(number: int) -> tuple[Image.Image, np.ndarray]:
    """A square of a class's colour on noise, and its mask of class number % 2 + 1."""
    rng = np.random.default_rng(number)
    image = rng.integers(60, 120, (*SIZE, 3)).astype(np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    top, left = rng.integers(4, 24, 2)
    image[top : top + 24, left : left + 28, number % 2 * 2] += 120
    mask[top : top + 24, left : left + 28] = number % 2 + 1
    return Image.fromarray(image), mask


def voc(root: Path) -> dict[str, Any]:
    """Four images for training and two for validation in VOC's layout, with masks."""
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number in range(6):
        image, mask = scene(number)
        image.save(root / "JPEGImages" / f"{number}.jpg", quality=95)
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{number}.png")
        name = ("aeroplane", "bicycle")[number % 2]
        (root / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><object><name>{name}</name></object></annotation>"
        )
    lists = root / "ImageSets/Segmentation"
    (lists / "train.txt").write_text("0\n1\n2\n")
    (lists / "trainaug.txt").write_text("0\n1\n2\n3\n")
    (lists / "val.txt").write_text("4\n5\n")
    return {"root": str(root)}


def coco(root: Path) -> dict[str, Any]:
    """The same in COCO's layout, and an image without any object in each part."""
    (root / "annotations").mkdir(parents=True)
    for part, numbers in (("train2014", range(4)), ("val2014", range(4, 6))):
        (root / part).mkdir()
        images, objects = [], []
        for number in [*numbers, 90 + len(numbers)]:
            image, mask = scene(number)
            image.save(root / part / f"{number}.jpg")
            images.append({"id": number, "file_name": f"{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
            if number < 90:
                (top, left), (bottom, right) = np.argwhere(mask).min(0).tolist(), np.argwhere(mask).max(0).tolist()
                outline = [[left, top, right, top, right, bottom, left, bottom]]
                about = {"id": number + 1, "image_id": number, "category_id": number % 2 + 1, "iscrowd": 0}
                objects.append(about | {"area": int((mask > 0).sum()), "segmentation": outline})
        categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]
        content = {"images": images, "annotations": objects, "categories": categories}
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return {"root": str(root)}


def run_of(name: str, root: Path) -> dict[str, Any]:
    """The preset alone, on tiny data, scaled."""
    base = EXTRA.get(name, name)
    scaled = merge(SCALED[base], CHANGED.get(name, {}))
    save_clip(root.parent / "clip.safetensors")
    return {"preset": name, "prepare_data": coco(root) if name.endswith("-coco") else voc(root), **scaled}


def foundation_runs(root: Path) -> dict[str, dict[str, Any]]:
    """A run of every whole preset on a foundation model, with the files that they need, in the folder of `root`."""
    save_clip(root.parent / "clip.safetensors")
    write_masks(root.parent / "masks.h5", [(str(i), Masks.from_dense(halves(scene(i)[1]))) for i in range(4)])
    voc_data, coco_data = {"dataset": "voc", **voc(root / "voc")}, coco(root / "coco")
    clip_es = FOUNDATION["clip-es"]
    masks = {"confidence": None, "masks": {"file": "masks.h5"}}
    brief = {
        "train_classifier": {"method": {"iterations": 2}, "training": {"epochs": 2}},
        "make_pseudo_labels": {"par": {"iterations": 2}},
        "segment_end_to_end": {"scales": [1.0], "crf": {"steps": 1}},
        "measure_cam_crf": False,
    }
    weclip = merge(SCALED["weclip"], brief)
    return {
        "clip-es": {"preset": "clip-es", "prepare_data": voc_data, **clip_es},
        "clip-es-coco": {"preset": "clip-es-coco", "prepare_data": coco_data, **clip_es},
        "sam-fma": {
            "preset": ["clip-es", "sam-fma"],
            "prepare_data": voc_data,
            **clip_es,
            "make_pseudo_labels": masks,
        },
        "dino-propagation": {
            "preset": "dino-propagation",
            "prepare_data": voc_data,
            **FOUNDATION["dino-propagation"],
        },
        "weclip": {"preset": "weclip", "prepare_data": voc_data, **weclip},
        "weclip-coco": {"preset": "weclip-coco", "prepare_data": coco_data, **weclip},
        "weclip-plus": {"preset": "weclip-plus", "prepare_data": voc_data, **merge(weclip, CHANGED["weclip-plus"])},
    }


def halves(mask: np.ndarray) -> np.ndarray:
    """Proposals (4, H, W) bool: upper and lower half of the object and of what is around it."""
    upper = np.arange(mask.shape[0])[:, None] < mask.shape[0] // 2
    return np.stack([part & half for part in (mask > 0, mask == 0) for half in (upper, ~upper)])
