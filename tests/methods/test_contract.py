"""The contract of `wsss.methods.base.Method`, for every registered method as the configuration builds it."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from names import class_names
from tiny_clip import BACKBONE as CLIP
from tiny_clip import save_clip
from wsss.backbones.build import freeze
from wsss.config import stages as schema
from wsss.config.common import Decodes, Untrained, UsesFeatures
from wsss.config.registry import METHODS
from wsss.data.batch import Batch
from wsss.localise.gradients import localise
from wsss.localise.inference import cam_group
from wsss.methods.base import DecodesMasks, LearnsFromFeatures, NamesClasses
from wsss.methods.decode import load_segmenter
from wsss.methods.load import build_method, load_classifier
from wsss.store.models import save_model

K, SIZE = 3, 64
CNN = {"name": "test_resnet", "output_stride": 8, "pretrained": False}
VIT = {
    "name": "vit_tiny_r_s16_p8_224",
    "pretrained": False,
    "options": {"patch_size": 2, "img_size": SIZE, "embed_dim": 32, "num_heads": 2, "depth": 4},
}
MIT = {
    "name": "mit_b0",
    "options": {"hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 1, 2, 2], "strides": [4, 2, 1, 1]},
}
TOCO = {"crop_size": 16, "local_crops": 2, "projection": [16, 8, 16], "aux_block": -2}
TOCO["starts"] = {"seg": 1, "energy": 1}
DINO = {"name": "vit_small_patch14_dinov2", "pretrained": False}
DINO["options"] = {"img_size": 56, "embed_dim": 24, "depth": 2, "num_heads": 2}
WECLIP = {"width": 16, "layers": 1, "heads": 2, "affinity_blocks": 2, "early_blocks": 3, "refined_steps": 1}
RECIPES = {
    "cam": ({}, CNN),
    "seam": ({"rescale": [0.5, 0.5], "taps": [-3, -2]}, CNN),
    "afa": ({"warmup_steps": 1, "refined_steps": 2, "decoder_width": 16, "radius": 3, "freeze_norms": False}, MIT),
    "toco": (TOCO, VIT),
    "acr": ({"alpha": 10.0}, VIT),
    "weclip": (WECLIP | {"second": {"backbone": DINO, "confident_steps": 3}}, CLIP),
}
STEPS = (0, 5)  # before and after the warm-ups


def section(name: str) -> schema.TrainClassifier:
    method, backbone = RECIPES[name]
    return schema.TrainClassifier.model_validate({"method": {"name": name} | method, "backbone": backbone})


@pytest.fixture(scope="module", params=RECIPES)
def built(request, tmp_path_factory):
    torch.manual_seed(0)
    settings = section(request.param)
    model = build_method(settings, class_names(K))
    if isinstance(model, NamesClasses):
        model.name_classes(class_names(K)[1:], save_clip(tmp_path_factory.mktemp("clip") / "clip.safetensors"))
    freeze(model.backbone, settings.training)
    return request.param, settings, model


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, SIZE, SIZE, generator=generator)
    boxes = torch.tensor([[0, SIZE, 0, SIZE], [4, 60, 0, 56]])
    return Batch(images, torch.tensor([[1.0, 0, 1], [0, 1, 0]]), boxes)


def test_every_trained_method_of_the_schema_is_here():
    members = [module.Settings for module in METHODS.modules.values()]
    trained = [member for member in members if not issubclass(member, Untrained | UsesFeatures)]
    assert {get_args(member.model_fields["name"].annotation)[0] for member in trained} == set(RECIPES)


@pytest.mark.parametrize("name", METHODS.modules)
def test_settings_are_marked_by_what_their_method_can_do(name):
    settings = METHODS[name].Settings
    method = settings.load()
    assert issubclass(settings, Decodes) == issubclass(method, DecodesMasks)
    assert issubclass(method, NamesClasses) or not issubclass(settings, Untrained)
    assert issubclass(settings, UsesFeatures) == issubclass(method, LearnsFromFeatures)


@pytest.mark.parametrize("step", STEPS)
def test_terms_are_finite_scalars_that_reach_every_trained_parameter(built, batch, step):
    name, _, model = built
    model.train()
    model.zero_grad()
    terms = model(batch, step)
    assert terms and all(term.ndim == 0 and term.isfinite() for term in terms.values())
    sum(terms.values()).backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert trained and not [n for n, p in trained.items() if p.grad is None], name
    assert all(p.grad.isfinite().all() for p in trained.values())


def test_maps_are_non_negative_on_a_grid_of_the_image(built, batch):
    _, _, model = built
    model.eval()
    images = torch.cat([batch.images, batch.images], dim=3)  # twice as wide as high
    with torch.inference_mode():
        maps = model.activation_maps(images)
        scores = model.logits(images)
    assert maps.shape[:2] == (2, K) and maps.shape[3] == 2 * maps.shape[2]
    assert maps.isfinite().all() and maps.min() >= 0 and maps.max() > 0
    assert scores.shape == (2, K) and scores.isfinite().all()


def test_maps_of_present_classes_are_the_same_when_others_are_left_out(built, batch):
    _, _, model = built
    if isinstance(model, NamesClasses):
        pytest.skip("present classes compete with each other alone")
    model.eval()
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    with torch.inference_mode():
        torch.testing.assert_close(
            model.present_maps(batch.images, labels)[:, [0, 2]],
            model.activation_maps(batch.images)[:, [0, 2]],
            rtol=1e-4,
            atol=1e-6,
        )


@pytest.mark.parametrize("localiser", ["cam", "gradcam"])
def test_maps_in_bf16_are_nearly_those_in_float32(built, localiser, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    name, _, model = built
    if localiser == "gradcam" and name not in ("cam", "seam"):
        pytest.skip("gradients of CNNs")
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.uint8)
    labels, model = torch.tensor([[1.0, 0, 1], [0, 1, 0]]), model.eval()
    found = []
    for amp in ("off", "auto"):
        settings = schema.InferCam(scales=[1.0], localiser=localiser, amp=amp)
        with torch.inference_mode():
            found.append([cams.full for cams in cam_group(model, images, labels, settings)])
    for exact, mixed in zip(*found, strict=True):
        assert mixed.dtype == torch.float32 and not mixed.equal(exact)
        assert (mixed - exact).abs().mean() < 0.02


def test_head_and_backbone_share_no_parameter(built):
    _, _, model = built
    head = {id(p) for p in model.head_parameters()}
    assert head and not head & {id(p) for p in model.backbone.parameters()}
    assert head <= {id(p) for p in model.parameters()}


def test_a_model_file_gives_the_same_maps(built, batch, tmp_path):
    _, settings, model = built
    path = tmp_path / "model.safetensors"
    save_model(model, path, "classifier", settings.model_dump(mode="json"), ["background", "a", "b", "c"])
    loaded = load_classifier(path)
    model.eval()
    with torch.inference_mode():
        torch.testing.assert_close(
            loaded.activation_maps(batch.images), model.activation_maps(batch.images), rtol=0, atol=0
        )


def test_single_stage_methods_decode_masks_from_their_model_file(built, batch, tmp_path):
    name, settings, model = built
    path = tmp_path / "model.safetensors"
    save_model(model, path, "classifier", settings.model_dump(mode="json"), ["background", "a", "b", "c"])
    assert isinstance(settings.method, Decodes) == hasattr(model, "segment_logits")
    if not isinstance(settings.method, Decodes):
        with pytest.raises(ValueError, match="decodes no masks"):
            load_segmenter(path)
        return
    segmenter = load_segmenter(path)
    assert segmenter.mean == model.backbone.mean
    with torch.inference_mode():
        assert segmenter(batch.images).shape[:2] == (2, K + 1), name


@pytest.mark.parametrize("localiser", ["gradcam", "gradcam++", "xgradcam", "hirescam", "layercam"])
@pytest.mark.parametrize("name", ["cam", "seam"])
def test_gradient_localisers_work_in_inference_mode_and_skip_absent_classes(name, localiser, batch):
    torch.manual_seed(0)
    model = build_method(section(name), class_names(K)).eval()
    labels = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    with torch.inference_mode():
        maps = localise(model, batch.images, localiser, labels)
        everything = localise(model, batch.images, localiser)
    assert maps.shape == everything.shape and maps.min() >= 0 and maps[:, 1].max() == 0 < maps.max()
    torch.testing.assert_close(maps[:, [0, 2]], everything[:, [0, 2]], rtol=0, atol=0)
