"""ACR's losses, localisation and networks."""

from __future__ import annotations

from typing import Any

import torch
from compare import Adapter, Arrays, Tolerance
from formula import formula_state_dict, published_shapes
from torch import Tensor

from wsss.backbones.checkpoints import load_published
from wsss.backbones.vit import ViTBackbone
from wsss.backbones.vit_checkpoints import VIT_LAYOUTS
from wsss.localise.fusion import fuse
from wsss.methods.acr.network import (
    ACR,
    acr_losses,
    attended,
    class_token_map,
    consistency_losses,
    unflip_class_rows,
    unflip_patch_blocks,
)
from wsss.methods.acr.settings import Settings
from wsss.methods.pooling import pool


def _tensors(inputs: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def losses(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t, p = _tensors(inputs), meta["params"]
    grid = (p["p"], p["p"])
    attention = (t["attn1"].requires_grad_(), t["attn2"].requires_grad_())
    terms = acr_losses((t["x1"], t["x2"]), attention, t["label"], grid, p["alpha"])
    total = sum(terms.values())
    total.backward()
    rows, pairs = consistency_losses(*attention, grid)
    outputs = {
        "cls_loss_1": terms["cls"],
        "cls_loss_2": terms["cls_mirror"],
        "cls_align_loss": rows,
        "aff_align_loss": pairs,
        "loss": total,
        "attn2_cls": unflip_class_rows(attention[1], grid),
        "attn2_aff": unflip_patch_blocks(attention[1], grid),
        "grad_attn1": attention[0].grad,
        "grad_attn2": attention[1].grad,
    }
    return {name: tensor.detach().numpy() for name, tensor in outputs.items()}


def getam(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    t, p = _tensors(inputs), meta["params"]
    start, classes, grid, mode = p["start_layer"], p["classes"], p["grid"], p["getam_func"]
    attention = {f: list(t[f"attn_{f}"][:, None]) for f in (1, 2)}  # one image, so a batch of 1
    grads = {(f, k): list(t[f"grad_{f}_class{k}"][start:, None]) for f in (1, 2) for k in classes}

    def relevance(f: int, k: int, mode: str, num_prefix: int = 1) -> Tensor:
        return class_token_map(attention[f][start:], grads[f, k], mode, num_prefix)

    def localised(f: int) -> Tensor:
        rows = torch.stack([relevance(f, k, mode) for k in classes], dim=1)
        rows = attended(rows, attention[f]) if p["aff"] else rows
        return rows[0].unflatten(-1, grid)

    size = tuple(inputs["size"][:2].tolist())
    patch = torch.stack([t[f"patch_cam_{f}"][0, :, classes].T.unflatten(-1, grid) for f in (2, 1)])
    outputs = {f"getam_{m}": relevance(1, classes[0], m) for m in ("grad", "grad_s", "cam_grad", "cam_grad_s")}
    outputs["getam_distil"] = relevance(1, classes[0], "grad", num_prefix=2)
    refined = attended(relevance(1, classes[0], mode)[:, None], attention[1])
    outputs["aff_refined"] = refined.transpose(1, 2)
    every = torch.ones(len(classes), dtype=torch.bool)
    outputs["norm_cam"] = fuse([torch.stack([localised(2), localised(1)])], every, size, "acr")
    outputs["patch_norm_cam"] = fuse([patch], every, size, "acr_patch")
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _net(backbone: str, published: str, **options: Any) -> Adapter:
    def run(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
        p = meta["params"]
        model = ACR(
            ViTBackbone(backbone, position_interpolation="bilinear", **options),
            class_names=[str(i) for i in range(published_shapes(published)["cls_head.bias"][0][0] + 1)],
            settings=Settings(name="acr", start_layer=p["start_layer"]),
        ).eval()
        load_published(model, formula_state_dict(published_shapes(published)), VIT_LAYOUTS["acr"])
        tokens = model.tokens(torch.from_numpy(inputs["x"]))
        scores = model.scores(tokens)
        grads = model.attention_gradients(tokens, scores, p["target_class"])
        attention = tokens.attention[p["start_layer"] :]
        outputs = {
            "cls": scores,
            "attn": tokens.mean_attention()[:, [0, 5, 11]],  # the blocks that the case stores
            "patch_cls": pool(model.patch_scores(tokens), "average"),
            "patch_cam": model.patch_scores(tokens).relu().flatten(2).transpose(1, 2),
            "last_attn_grad": grads[-1][0, 0],
            "getam_grad": class_token_map(attention, grads, "grad"),
            "getam_cam_grad_s": class_token_map(attention, grads, "cam_grad_s"),
        }
        return {name: tensor.detach().numpy() for name, tensor in outputs.items()}

    return run


CASES: dict[str, Adapter] = {
    "acr_losses": losses,
    "acr_getam": getam,
    "net_acr_vitb": _net("vit_base_patch16_384", "acr_vitb"),
    "net_acr_vitb_hybrid": _net("vit_base_r50_s16_384", "acr_vitb_hybrid", sigma_eps=1e-5),
}
TOLERANCES: dict[str, Tolerance] = {
    "acr_losses": Tolerance(rtol=1e-5, atol=1e-8),
    "acr_getam": Tolerance(rtol=1e-4, atol=1e-5, rel_l2=1e-5, rel_l2_names=("getam", "aff_refined")),
    "net_acr_vitb": Tolerance(rtol=1e-4, atol=1e-8),
    "net_acr_vitb_hybrid": Tolerance(rel_l2=1e-4, rel_l2_names=("",)),
}
