"""CLIP-ES: Grad-CAM, attention affinity, confident labels."""

from __future__ import annotations

from typing import Any

import torch
from compare import Adapter, Arrays, Tolerance
from formula import formula_state_dict, meta_shapes

from wsss.backbones.checkpoints import load_published
from wsss.backbones.clip import CLIPBackbone
from wsss.localise.seeds import background_first, confidence_labels, power_background
from wsss.methods.softmax_cam import encode, softmax_cam, stretch
from wsss.refine.attention import box_masks, refine, sinkhorn_transition
from wsss.refine.walk import dense_walk
from wsss.runtime.tensors import resize


def clip_backbone(meta: dict[str, Any], rule: str) -> CLIPBackbone:
    p = meta["params"]
    options = {
        "img_size": p["image_resolution"],
        "patch_size": p["vision_patch_size"],
        "embed_dim": p["vision_width"],
        "depth": p["vision_layers"],
        "num_heads": p["heads"],
    }
    name = "vit_base_patch16_clip_quickgelu_224"
    backbone = CLIPBackbone(name, projection=p["embed_dim"], position_interpolation=rule, options=options)
    load_published(backbone, formula_state_dict(meta_shapes(meta)))
    return backbone.eval()


def clip_es_gradcam(x: Arrays, meta: dict[str, Any]) -> Arrays:
    images, text = torch.from_numpy(x["image"]), torch.from_numpy(x["text"])
    scale = torch.tensor(meta["params"]["logit_scale"]).exp()
    found = {}
    for rule, suffix in (("bilinear-half", ""), ("bilinear", "_pos_f32")):
        backbone = clip_backbone(meta, rule)
        encoded = encode(backbone, images)
        classes = meta["shapes"]["out_weights"][0][0]
        cam = softmax_cam(backbone, encoded.last, text, scale, torch.ones(len(images), classes))
        found |= {f"probs{suffix}": cam.probs, f"cams{suffix}": cam.cams[0]}
        if not suffix:
            with torch.no_grad():
                attention = backbone.tokens(images, attention=True).mean_attention()
            found |= {"tokens": encoded.last.x[0], "attn": attention[0]}
            found |= {"weights": cam.weights[0], "raw": cam.raw[0]}
    return {name: tensor.numpy() for name, tensor in found.items()}


def clip_es_attention_affinity(x: Arrays, meta: dict[str, Any]) -> Arrays:
    p, cams = meta["params"], torch.from_numpy(x["cams"])
    attention = torch.from_numpy(x["attn"])[-p["layers"] :, 1:, 1:].sum(0)
    transition = sinkhorn_transition(attention)
    boxes = box_masks(cams, p["box_threshold"])
    refined = refine(cams, transition, p["box_threshold"])
    return {
        "trans": dense_walk(torch.eye(len(transition)), transition, 2).numpy(),
        "box_mask": boxes.mask.numpy(),
        "box_mask_070": box_masks(cams, p["box_threshold_coco"]).mask.numpy(),
        "box_count": boxes.count.numpy(),
        "refined": refined.numpy(),
        "highres": resize(stretch(refined), tuple(p["ori_size"]), align_corners=False).numpy(),
    }


def clip_es_confidence_labels(x: Arrays, meta: dict[str, Any]) -> Arrays:
    """Without the CRF's marginals: its image is a uint8 wrap that no stage makes."""
    prob, classes = torch.from_numpy(x["prob"]), torch.from_numpy(x["keys"]) + 1
    cams = torch.from_numpy(x["cams"])
    label = confidence_labels(prob, torch.cat([classes.new_zeros(1), classes]), meta["params"]["threshold"])
    unary = background_first(cams, power_background(cams, 1))
    return {"label": label.numpy(), "crf_unary_prob": unary.float().numpy()}


CASES: dict[str, Adapter] = {
    "clip_es_gradcam": clip_es_gradcam,
    "clip_es_attention_affinity": clip_es_attention_affinity,
    "clip_es_confidence_labels": clip_es_confidence_labels,
}
TOLERANCES: dict[str, Tolerance] = {
    "clip_es_gradcam": Tolerance(rtol=1e-4, atol=1e-5),
    "clip_es_attention_affinity": Tolerance(rtol=1e-5, atol=1e-6),
    "clip_es_confidence_labels": Tolerance(rtol=1e-5, atol=1e-6),
}
