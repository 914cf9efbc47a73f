"""AFA (Ru 2022) and its Mix Transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from compare import Arrays, Tolerance
from formula import formula_state_dict, published_shapes
from torch import Tensor
from torch.nn import functional as F

from wsss.backbones.checkpoints import load_published
from wsss.backbones.mit import MiT
from wsss.backbones.mit_checkpoints import afa_state_dict
from wsss.methods.afa.affinity import AffinityHead, column_transition, present_softmax
from wsss.methods.afa.labels import multi_scale_maps, refine_in_boxes
from wsss.methods.afa.network import AFA
from wsss.methods.afa.settings import Settings
from wsss.methods.attention_affinity import dense_pair_labels, dense_pair_loss, pair_counts, radius_mask
from wsss.refine.walk import dense_walk

Meta = dict[str, Any]


def _tensor(array: np.ndarray, grad: bool = False) -> Tensor:
    return torch.from_numpy(array.copy()).requires_grad_(grad)


def _arrays(**outputs: Tensor) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in outputs.items()}


def aff_loss(inputs: Arrays, meta: Meta) -> Arrays:
    probabilities, targets = _tensor(inputs["pred"], grad=True), _tensor(inputs["target"])
    loss = dense_pair_loss(probabilities, targets)
    loss.backward()
    positives, negatives = pair_counts(targets)
    return _arrays(loss=loss, pos_count=positives, neg_count=negatives, grad_pred=probabilities.grad)


def aff_label(inputs: Arrays, meta: Meta) -> Arrays:
    params = meta["params"]
    labels, ignore = _tensor(inputs["label"]), params["ignore_index"]
    return _arrays(
        aff_label=dense_pair_labels(labels, params["stride"], params["radius"], ignore),
        aff_label_nomask=dense_pair_labels(labels, params["stride"], None, ignore),
    )


def mask(inputs: Arrays, meta: Meta) -> Arrays:
    params = meta["params"]
    return {"mask": radius_mask(params["h"], params["w"], params["radius"]).numpy().astype(np.uint8)}


def propagation(inputs: Arrays, meta: Meta) -> Arrays:
    params = meta["params"]
    maps, affinity, labels = (_tensor(inputs[name]) for name in ("cams", "aff", "cls"))
    window = radius_mask(*maps.shape[-2:], params["radius"])
    scores = present_softmax(maps, labels, params["bkg_score"]).flatten(2)
    power, steps = params["n_pow"], 2 ** params["n_log_iter"]
    eps, eps_plain = params["eps_with_bkg"], params["eps_plain"]

    def walked(rows: Tensor, transition: Tensor) -> Tensor:
        return dense_walk(rows, transition, steps).unflatten(2, maps.shape[-2:])

    return _arrays(
        cams_rw=walked(scores, column_transition(affinity, window, power, eps)),
        cams_rw_nomask=walked(scores, column_transition(affinity, None, power, eps)),
        cams_rw_plain=walked(maps.flatten(2), column_transition(affinity, window, power, eps_plain)),
    )


def attn_pred(inputs: Arrays, meta: Meta) -> Arrays:
    blocks = [_tensor(inputs["attn_a"], grad=True), _tensor(inputs["attn_b"], grad=True)]
    head = AffinityHead(sum(block.shape[1] for block in blocks))
    head.load_state_dict({"weight": _tensor(inputs["proj_weight"]), "bias": _tensor(inputs["proj_bias"])})
    affinity = head(blocks)
    affinity.backward(_tensor(inputs["upstream"]))
    return _arrays(
        attn_pred=affinity,
        grad_attn_a=blocks[0].grad,
        grad_proj_weight=head.weight.grad,
        grad_proj_bias=head.bias.grad,
    )


def refine(inputs: Arrays, meta: Meta) -> Arrays:
    images, scores, present, boxes = (_tensor(inputs[name]) for name in ("imgs", "cams", "labels", "box"))
    params = meta["params"]
    refined = refine_in_boxes(images, scores, present, boxes, params["dilations"], params["num_iter"])
    return _arrays(refined=refined)


def multi_scale_aff(inputs: Arrays, meta: Meta) -> Arrays:
    params, weight = meta["params"], _tensor(inputs["w"])
    sizes: list[list[int]] = []

    def stub(views: Tensor) -> tuple[Tensor, Tensor]:
        """Maps by convolution; every entry of the affinity is the number of this call."""
        maps = F.conv2d(views, weight, stride=params["stride"])
        sizes.append(list(maps.shape[-2:]))
        cells = maps.shape[-2] * maps.shape[-1]
        return maps, torch.full((len(views), cells, cells), len(sizes))

    maps, affinity, _ = multi_scale_maps(stub, _tensor(inputs["inputs"]), params["scales"])
    return _arrays(cam=maps, aff_call=affinity[0, 0, 0], call_sizes=torch.tensor(sizes))


@torch.no_grad()
def _network(name: str, inputs: Arrays) -> Arrays:
    shapes = published_shapes(f"afa_{name}")
    num_classes = shapes["classifier.weight"][0][0]
    net = AFA(MiT(name), [str(i) for i in range(num_classes + 1)], Settings(name="afa")).eval()
    load_published(net, afa_state_dict(formula_state_dict(shapes)))
    images = _tensor(inputs["x"])
    features, _, attention = net.backbone.with_attention(images, (0, -1))
    return _arrays(
        cls=net.logits(images),
        seg=net.segment_logits(images),
        attn_pred=net.pair_affinity(images),
        cam=net.classifier(features),
        feat4=features,
        attn_s1=attention[0][0],
        attn_last=attention[1][0],
    )


CASES = {
    "afa_aff_loss": aff_loss,
    "afa_aff_label": aff_label,
    "afa_mask": mask,
    "afa_propagate": propagation,
    "afa_attn_pred": attn_pred,
    "afa_refine": refine,
    "afa_multi_scale_aff": multi_scale_aff,
    "net_afa_mit_b0": lambda inputs, meta: _network("mit_b0", inputs),
    "net_afa_mit_b1": lambda inputs, meta: _network("mit_b1", inputs),
}
TOLERANCES = {
    "afa_aff_loss": Tolerance(rtol=1e-5, atol=1e-8),
    "afa_aff_label": Tolerance(),
    "afa_mask": Tolerance(),
    "afa_propagate": Tolerance(rtol=1e-5, atol=1e-6),
    "afa_attn_pred": Tolerance(rtol=1e-5, atol=1e-6, rel_l2=1e-4),
    "afa_refine": Tolerance(rtol=1e-4, atol=5e-6),
    "afa_multi_scale_aff": Tolerance(rtol=1e-5, atol=2e-6),
    "net_afa_mit_b0": Tolerance(rtol=1e-4, atol=5e-5),
    "net_afa_mit_b1": Tolerance(rtol=1e-4, atol=5e-5),
}
