"""Whole chains, photograph in and published map or label out, by the shipped presets; `meta["kit"]` has the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases_seam import irn_first_names
from compare import Adapter, Arrays, Tolerance, load_case
from formula import formula_state_dict, published_shapes
from torch import Tensor, nn

from wsss.backbones.build import build_backbone
from wsss.backbones.checkpoints import load_published
from wsss.config.loading import load_run
from wsss.config.run import Run
from wsss.config.stages import InferCam, Segment
from wsss.data.augment import to_inputs
from wsss.data.dataset import read_image
from wsss.localise.inference import Cams, cam_group, for_inference
from wsss.measure.scoremaps import winner, with_background
from wsss.methods.afa.labels import multi_scale_maps, propagated_scores
from wsss.methods.decode import EndToEnd
from wsss.methods.load import build_method
from wsss.refine.affinitynet.labels import PowerLabels
from wsss.refine.affinitynet.network import upsample_scores
from wsss.refine.affinitynet.walk import affinities, walk_cams
from wsss.refine.irnet.network import relative_scores, walk_to_boundary
from wsss.segmentation.fusion import probabilities, view_scores
from wsss.segmentation.inference import crf_labels
from wsss.store.maps import ScoreMap

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Photograph:
    """pixels: (H, W, 3) uint8; classes: (k,) ids from 1; labels: (1, K)."""

    pixels: np.ndarray
    classes: np.ndarray
    labels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[:2]


def photographs(meta: Mapping[str, Any], num_classes: int = 20) -> Iterator[Photograph]:
    kit = Path(meta.get("kit") or ROOT.parent / "shared" / "voc-kit")
    if not kit.is_dir():
        pytest.skip(f"no photographs at {kit}")
    for about in meta["images"]:
        indices = torch.tensor(sorted(about["class_indices"]))
        labels = torch.zeros(1, num_classes).index_fill_(1, indices, 1)
        yield Photograph(read_image(kit / "VOC2012" / "JPEGImages" / f"{about['id']}.jpg"), indices.numpy() + 1, labels)


def preset(*names: str, backbone: str | None = None, **method: Any) -> Run:
    """The shipped preset on VOC, with another network or other arguments of the method where the case has them."""
    changed = {"backbone": {"name": backbone}} if backbone else {}
    changed |= {"method": method} if method else {}
    run = {"preset": list(names), "prepare_data": {"dataset": "voc", "root": "VOC2012"}, "train_classifier": changed}
    return load_run("whole", {"whole": run}, ROOT / "workflow" / "presets")


def weights(net: str, meta: Mapping[str, Any], first_names: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """The formula weights under the published names, with what the case overrides."""
    state = formula_state_dict(published_shapes(net), first_names)
    for name, change in meta["weights_override"].items():
        if "values" in change:
            state[name].copy_(torch.tensor(change["values"]).view_as(state[name]))
        state[name].mul_(change.get("factor", 1))
        for row, factor in change.get("rows", {}).items():
            state[name][int(row)].mul_(factor)
    return state


def classifier(run: Run, state: Mapping[str, Tensor]) -> nn.Module:
    model = build_method(run.train_classifier, [str(i) for i in range(21)], weights=False)
    load_published(model, state)
    return for_inference(model, CPU)


def cams_of(model: nn.Module, photograph: Photograph, settings: InferCam) -> Cams:
    return cam_group(model, photograph.pixels[None], photograph.labels, settings)[0]


def label_of(photograph: Photograph, cams: Tensor, threshold: float) -> np.ndarray:
    return winner(with_background(ScoreMap(photograph.classes, cams.numpy()), threshold))


def numbered(one: Callable[[Photograph], Arrays], meta: Mapping[str, Any]) -> Arrays:
    found = [one(photograph) for photograph in photographs(meta)]
    return {f"{i}_{name}": array for i, arrays in enumerate(found) for name, array in arrays.items()}


def crf_of(run: Run, photograph: Photograph, cams: Tensor, alphas: Mapping[str, float]) -> Arrays:
    make, maps = PowerLabels(run.make_affinity_labels, CPU), ScoreMap(photograph.classes, cams.numpy())
    out: Arrays = {}
    for name, alpha in alphas.items():
        (found,) = make.refined([photograph.pixels], [maps], alpha)
        out |= {name: found.scores[:, ::4, ::4], f"{name}_label": winner(found)}
    return out


def seam(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    run = preset("seam", "affinitynet")
    model, labels = classifier(run, weights("resnet38_SEAM", meta)), run.make_affinity_labels

    def one(photograph: Photograph) -> Arrays:
        cams = cams_of(model, photograph, run.infer_cam).full
        crf = crf_of(run, photograph, cams, {"crf4": labels.low_alpha, "crf24": labels.high_alpha})
        return {"cam": cams.numpy(), "pred": label_of(photograph, cams, meta["params"]["out_cam_pred_alpha"])} | crf

    return numbered(one, meta)


def psa_cam(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    run = preset("psa")
    model, labels = classifier(run, weights("psa_resnet38_cls", meta)), run.make_affinity_labels

    def one(photograph: Photograph) -> Arrays:
        cams = cams_of(model, photograph, run.infer_cam).full
        crf = crf_of(run, photograph, cams, {"la_crf": labels.low_alpha, "ha_crf": labels.high_alpha})
        return {"cam": cams.numpy(), "pred": label_of(photograph, cams, run.choose_threshold.value)} | crf

    return numbered(one, meta)


def affinity_network(run: Run, state: Mapping[str, Tensor]) -> nn.Module:
    settings = run.train_affinity
    model = settings.load()(settings).build(build_backbone(run.train_classifier.backbone, weights=False))
    load_published(model, state)
    return model.eval()


def _psa_cams(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    """`<i>_cam`, the output of whole_psa_cam for the same photographs: given, stored, or computed."""
    if inputs:
        return inputs
    _, stored, outputs = load_case("whole_psa_cam")
    if [image["id"] for image in stored["images"]] == [image["id"] for image in meta["images"]]:
        return outputs
    return psa_cam({}, meta | {"weights_override": {}})


@torch.inference_mode()
def psa_aff(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    cams = _psa_cams(inputs, meta)
    runs = {"psa": preset("psa"), "seam": preset("seam", "affinitynet")}
    model = affinity_network(runs["psa"], weights("resnet38_aff", meta))
    out: Arrays = {}
    for i, photograph in enumerate(photographs(meta)):
        maps = [torch.from_numpy(cams[f"{i}_cam"].astype(np.float32))]
        for name, run in runs.items():
            affinity = affinities(model, photograph.pixels[None], run.refine_cam, CPU)
            (walked,) = walk_cams(maps, affinity, model.offsets, model.stride, run.refine_cam)
            scores = upsample_scores(walked, model.stride, photograph.size).numpy()
            label = winner(ScoreMap(np.r_[0, photograph.classes], scores))
            out |= {f"{i}_{name}_rw": walked.numpy(), f"{i}_{name}_label": label}
    return out


def irn_cam(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    run = preset("irn")
    model = classifier(run, weights("irn_CAM", meta, irn_first_names("irn_CAM")))

    def one(photograph: Photograph) -> Arrays:
        cams = cams_of(model, photograph, run.infer_cam)
        return {"cam": cams.strided.numpy(), "high_res": cams.full.numpy()}

    return numbered(one, meta)


@torch.inference_mode()
def irn_label(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    run = preset("irn")
    own = meta | {"weights_override": {}}  # the given one is of the CAMs' network
    model, walk = affinity_network(run, weights("irn_EdgeDisplacement", own)), run.refine_cam
    out: Arrays = {}
    for i, photograph in enumerate(photographs(meta)):
        edge, _ = model.infer(to_inputs(photograph.pixels[None], model.backbone.mean, model.backbone.std, CPU))
        maps = [torch.from_numpy(inputs[f"{i}_cam"])]
        (walked,) = walk_to_boundary(maps, edge, walk.radius, walk.beta, walk.steps)
        scores = relative_scores(walked, model.stride, photograph.size, walk.threshold).numpy()
        label = winner(ScoreMap(np.r_[0, photograph.classes], scores))
        out |= {f"{i}_edge": edge.numpy(), f"{i}_rw": walked.numpy(), f"{i}_label": label}
    return out


@torch.inference_mode()
def decoded(model: nn.Module, photograph: Photograph, settings: Segment) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Fused scores (C, h, w), their label and that of the CRF."""
    scores = view_scores(EndToEnd(model), photograph.pixels[None], settings, CPU)
    shares = probabilities(scores, photograph.size, settings)
    (crf,) = crf_labels([photograph.pixels], shares.numpy(), settings.crf, CPU)
    return scores[0], shares[0].argmax(0).byte().numpy(), crf


def afa(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    run = preset("afa")
    model, settings = classifier(run, weights("afa_mit_b1", meta)), run.segment_end_to_end
    method = run.train_classifier.method
    plain = settings.model_copy(update={"scales": [1.0], "flip": False})

    @torch.inference_mode()
    def propagated(photograph: Photograph) -> np.ndarray:
        images = to_inputs(photograph.pixels[None], model.backbone.mean, model.backbone.std, CPU)
        maps, *_ = multi_scale_maps(model._maps_and_affinity, images, method.scales)
        _, pairs, grid = multi_scale_maps(model._maps_and_affinity, images, [1.0])  # validation's affinity is scale 1's
        scores = propagated_scores(maps, pairs, grid, photograph.labels, method.background[0], method.radius)
        return scores[0].argmax(0).byte().numpy()

    def one(photograph: Photograph) -> Arrays:
        cams = cams_of(model, photograph, run.infer_cam).full
        scores, label, crf = decoded(model, photograph, settings)
        return {
            "cam": cams.numpy(),
            "cam_label": label_of(photograph, cams, run.choose_threshold.value),
            "aff_label": propagated(photograph),
            "segs_label": decoded(model, photograph, plain)[1],
            "msc_segs": scores[:, ::4, ::4].numpy(),
            "msc_segs_label": label,
            "crf_label": crf,
        }

    return numbered(one, meta)


def toco(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    run = preset("toco", backbone=meta["params"]["backbone"].split()[0])
    model = classifier(run, weights("toco_deit_tiny", meta))
    aux, threshold = run.infer_cam.model_copy(update={"localiser": "aux"}), run.choose_threshold.value

    def one(photograph: Photograph) -> Arrays:
        cams, aux_cams = (cams_of(model, photograph, settings).full for settings in (run.infer_cam, aux))
        scores, label, crf = decoded(model, photograph, run.segment_end_to_end)
        return {
            "cam": cams.numpy(),
            "cam_aux": aux_cams[:, ::4, ::4].numpy(),
            "cam_label": label_of(photograph, cams, threshold),
            "cam_aux_label": label_of(photograph, aux_cams, threshold),
            "msc_seg": scores[:, ::8, ::8].numpy(),
            "msc_seg_label": label,
            "crf_label": crf,
        }

    return numbered(one, meta)


def acr(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    state, default = weights("acr_vitb_hybrid", meta), meta["params"]["cam_default"]
    chosen = {
        "start_layer": default["start_layer"],
        "gradient_mode": default["getam_func"],
        "refine": default["aff"],
    }
    runs = {"cam": preset("acr"), "cam_default": preset("acr", **chosen), "patch": preset("acr", localisation="patch")}
    models = {name: classifier(run, state) for name, run in runs.items()}
    settings = runs["cam"].infer_cam
    patches = settings.model_copy(update={"fusion": "acr_patch"})

    def one(photograph: Photograph) -> Arrays:
        return {
            "cam": cams_of(models["cam"], photograph, settings).full.numpy(),
            "cam_default": cams_of(models["cam_default"], photograph, settings).full[:, ::4, ::4].numpy(),
            "patch_cam": cams_of(models["patch"], photograph, patches).full[:, ::4, ::4].numpy(),
        }

    return numbered(one, meta)


CASES: dict[str, Adapter] = {
    "whole_seam": seam,
    "whole_psa_cam": psa_cam,
    "whole_psa_aff": psa_aff,
    "whole_irn_cam": irn_cam,
    "whole_irn_label": irn_label,
    "whole_afa": afa,
    "whole_toco": toco,
    "whole_acr": acr,
}

_LABELS = 0.005  # 99.5 % equal
_CAM = {"atol": 1e-3, "labels": _LABELS}
_DECODED = {"msc_segs": Tolerance(atol=1e-2), "msc_seg": Tolerance(atol=1e-2), "crf_label": Tolerance(labels=0.03)}
TOLERANCES: dict[str, Tolerance] = {
    "whole_seam": Tolerance(**_CAM, floor=0.0),
    "whole_psa_cam": Tolerance(**_CAM),
    "whole_psa_aff": Tolerance(**_CAM),
    "whole_irn_cam": Tolerance(**_CAM),
    "whole_irn_label": Tolerance(**_CAM),
    "whole_afa": Tolerance(**_CAM, own=_DECODED),
    "whole_toco": Tolerance(**_CAM, own=_DECODED),
    "whole_acr": Tolerance(**_CAM),
}
