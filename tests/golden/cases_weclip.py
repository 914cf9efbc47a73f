"""WeCLIP and WeCLIP+: decoder, refinement, losses."""

from __future__ import annotations

from typing import Any

import torch
from compare import Adapter, Arrays, Tolerance
from formula import formula_state_dict, meta_shapes

from wsss.backbones.attention import block_with_attention
from wsss.backbones.checkpoints import load_published
from wsss.backbones.rules import rename
from wsss.methods.attention_affinity import dense_pair_labels, pair_counts, radius_mask
from wsss.methods.softmax_cam import stretch
from wsss.methods.weclip.losses import (
    confident_replaced,
    dice_loss,
    feature_pair_loss,
    loss_terms,
    resized_cross_entropy,
)
from wsss.methods.weclip.refinement import decoder_shares, joint_features, refine_maps, select
from wsss.methods.weclip.settings import Settings
from wsss.methods.weclip.towers import Decoded
from wsss.refine.attention import box_masks, sinkhorn_transition
from wsss.refine.walk import dense_walk
from wsss.runtime.tensors import resize
from wsss.segmentation.token_decoder import TOKEN_HEAD_NAMES, TokenDecoder, TokenHead, cell_affinity


def _tensors(x: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in x.items()}


def _head(meta: dict[str, Any], half_projection: bool) -> TokenHead:
    p = meta["params"]
    shape = (p["blocks"], p["in_channels"], p["classes"], p["width"], p["layers"], p["heads"])
    head = TokenHead(*shape, half_projection)
    load_published(head, formula_state_dict(meta_shapes(meta)), TOKEN_HEAD_NAMES)
    return head.eval()


def _attention(decoder: TokenDecoder, features: torch.Tensor) -> torch.Tensor:
    """Attention (layers, B, N, N), mean over heads."""
    x, maps = features.flatten(2).transpose(1, 2), []
    for block in decoder.blocks:
        x, weights = block_with_attention(block, x)
        maps.append(weights.mean(1))
    return torch.stack(maps)


def weclip_decoder(x: Arrays, meta: dict[str, Any]) -> Arrays:
    t, head, published = _tensors(x), _head(meta, False), _head(meta, True)
    tokens = list(t["tokens"])
    seg = head(tokens)
    seg.backward(t["grad_seg"])
    parameters = dict(head.named_parameters())
    grads = {}
    for output in (name for name in meta["shapes"] if name.startswith("out_grad_")):
        (own,) = rename({output.removeprefix("out_grad_").replace("__", "."): None}, TOKEN_HEAD_NAMES)
        grads[output.removeprefix("out_")] = parameters[own].grad.numpy()
    with torch.no_grad():
        fts = head.fuse(tokens)
        found = {"fts": fts, "attn_pred": cell_affinity(fts), "seg_f32": seg}
        found |= {"attn": _attention(published.decoder, fts), "seg": published(tokens)}
    found = {name: tensor.detach() for name, tensor in found.items()}
    return grads | {name: tensor.numpy() for name, tensor in found.items()}


def weclip_rfm(x: Arrays, meta: dict[str, Any]) -> Arrays:
    p, t = meta["params"], _tensors(x)
    attention, cams, pred = t["attn"][:, 1:, 1:], t["cams"], cell_affinity(t["fts"])
    voc, coco = (select(attention[-p[f"layers_{kind}"] :], pred[0]) for kind in ("voc", "coco"))
    absolute = select(attention[-p["layers_voc"] :], pred[0], "absolute")
    early = attention[-p["layers_early"] :].mean(0)
    transition = sinkhorn_transition(voc.matrix)
    refined = refine_maps(cams, voc.matrix, p["box_voc"])
    size = tuple(4 * side for side in cams.shape[1:])
    found = {
        "attn_pred": pred,
        "layer_score": voc.score,
        "layer_mask": voc.kept,
        "layer_mask_abs": absolute.kept,
        "layer_mask_coco": coco.kept,
        "selected_voc": voc.matrix,
        "selected_coco": coco.matrix,
        "selected_voc_early": early,
        "trans_voc": dense_walk(torch.eye(len(transition)), transition, 2),
        "refined_voc": refined,
        "refined_coco": refine_maps(cams, coco.matrix, p["box_coco"]),
        "refined_voc_early": refine_maps(cams, early, p["box_voc"]),
        "box_mask_voc": box_masks(cams, p["box_voc"]).mask,
        "box_mask_voc_early": box_masks(cams, p["box_voc"]).mask,
        "box_mask_coco": box_masks(cams, p["box_coco"]).mask,
        "highres_voc": resize(stretch(refined), size, align_corners=False),
    }
    return {name: tensor.numpy() for name, tensor in found.items()}


def weclip_plus_rfm(x: Arrays, meta: dict[str, Any]) -> Arrays:
    p, t = meta["params"], _tensors(x)
    attention = t["attn"][:, 1:, 1:]
    pred = cell_affinity(joint_features(t["fts_clip"], t["fts_dino"]))
    shares = decoder_shares(t["seg_clip"], t["seg_dino"])[0]
    cams, own = t["cams"], shares[t["class_ids"] + 1]
    chosen = {kind: select(attention[-p[f"layers_{kind}"] :], pred[0]) for kind in ("voc", "coco", "large")}
    found = {
        "attn_pred": pred,
        "seg_prob": shares,
        "selected_voc": chosen["voc"].matrix,
        "selected_coco": chosen["coco"].matrix,
        "selected_voc_large": chosen["large"].matrix,
        "refined_voc": refine_maps(cams, chosen["voc"].matrix, None, own),
        "refined_coco": refine_maps(cams, chosen["coco"].matrix, p["box_coco"], own),
        "refined_voc_large": refine_maps(cams, chosen["large"].matrix, None, own),
        "box_mask_coco": box_masks(cams, p["box_coco"]).mask,
        "box_mask_unused": box_masks(cams, 0.4).mask,
    }
    found |= {f"layer_mask_{len(each.kept)}": each.kept for each in chosen.values()}
    return {name: tensor.numpy() for name, tensor in found.items()}


def _loss_and_gradients(name: str, loss, *leaves: torch.Tensor) -> Arrays:
    inputs = [leaf.clone().requires_grad_() for leaf in leaves]
    value = loss(*inputs)
    gradients = torch.autograd.grad(value, inputs)
    names = [f"grad_{name}", f"grad_{name}_2"][: len(inputs)]
    found = {key: gradient.numpy() for key, gradient in zip(names, gradients, strict=True)}
    return found | {f"loss_{name}": value.detach().numpy()}


def _total(decoded: Decoded, labels: torch.Tensor, params: dict[str, Any]) -> torch.Tensor:
    plus = {"backbone": {"name": "vit_small_patch14_dinov2"}, "mutual_weight": params["mutual_weight"]}
    settings = Settings(
        name="weclip",
        affinity_weight=params["aff_weight"],
        radius=params["radius"],
        second=None if decoded.second is None else plus | {"masked_dice": False},
    )
    return sum(loss_terms(decoded, labels, settings).values())


def weclip_losses(x: Arrays, meta: dict[str, Any]) -> Arrays:
    t, p = _tensors(x), meta["params"]
    logits, dino, features, labels = t["logits"], t["logits_dino"], t["fts"], t["label"]
    stride = labels.shape[-1] // logits.shape[-1]
    pairs = dense_pair_labels(labels, stride, p["radius"])
    late = confident_replaced(labels, (logits + dino) / 2, p["late_probability"])
    found = {
        "aff_label": pairs.numpy(),
        "aff_counts": torch.stack(pair_counts(pairs)).numpy(),
        "radius_mask": radius_mask(*logits.shape[-2:], p["radius"]).numpy(),
        "label_late": late.numpy(),
        "loss_dice_masked": dice_loss(logits, labels).numpy(),
    }
    found |= _loss_and_gradients("seg", lambda a: resized_cross_entropy(a, labels), logits)
    found |= _loss_and_gradients("dice", lambda a: dice_loss(a, labels, masked=False), logits)
    found |= _loss_and_gradients("aff", lambda f: feature_pair_loss(f, labels, p["radius"]), features)
    found |= _loss_and_gradients("total_weclip", lambda a, f: _total(Decoded(a, f), labels, p), logits, features)
    for name, given in (("total_plus", labels), ("total_plus_late", late)):
        found |= _loss_and_gradients(
            name, lambda a, d, given=given: _total(Decoded(a, features, d), given, p), logits, dino
        )
    return found


_RFM = Tolerance(rtol=1e-4, atol=1e-6)
CASES: dict[str, Adapter] = {
    "weclip_decoder": weclip_decoder,
    "weclip_rfm": weclip_rfm,
    "weclip_plus_rfm": weclip_plus_rfm,
    "weclip_losses": weclip_losses,
}
TOLERANCES: dict[str, Tolerance] = {
    "weclip_decoder": Tolerance(rtol=1e-4, atol=1e-5, rel_l2=1e-4, own={"seg": Tolerance(atol=5e-3)}),
    "weclip_rfm": _RFM,
    "weclip_plus_rfm": _RFM,
    "weclip_losses": Tolerance(rtol=1e-5, rel_l2=1e-4),
}
