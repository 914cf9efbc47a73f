"""WeCLIP and WeCLIP+ as methods: what is trained, whose labels, and what a model file needs."""

from __future__ import annotations

import pytest
import torch

from tiny_clip import BACKBONE, save_clip
from wsss.config.stages import TrainClassifier
from wsss.data.batch import Batch
from wsss.methods.load import build_method

NAMES = ["cat", "dog"]
SMALL = {"name": "weclip", "width": 16, "layers": 1, "heads": 2, "affinity_blocks": 2, "early_blocks": 3}
DINO = {
    "name": "vit_small_patch14_dinov2",
    "pretrained": False,
    "options": {"img_size": 56, "embed_dim": 24, "depth": 2, "num_heads": 2},
}
PLUS = {"second": {"backbone": DINO}, "refined_steps": 0, "box_threshold": None}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip") / "clip.safetensors")


def built(checkpoint, **method):
    torch.manual_seed(0)
    backbone = BACKBONE | {"checkpoint": str(checkpoint)}
    settings = TrainClassifier.model_validate({"method": SMALL | method, "backbone": backbone})
    model = build_method(settings, ["background", *NAMES])
    model.name_classes(NAMES, checkpoint)
    return model.train()


def batch(height=64, width=64):
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[0, height, 0, width], [8, height, 0, width - 12]])
    return Batch(images, torch.tensor([[1.0, 1], [0, 1]]), boxes)


def labels_of(model, given, step):
    with torch.no_grad():
        return model.pseudo_labels(given, *model.read(given.images), step)


@pytest.mark.parametrize("method", [{"refined_steps": 3}, PLUS], ids=["weclip", "plus"])
def test_the_loss_falls_and_reaches_the_decoder_alone(checkpoint, method):
    model = built(checkpoint, **method)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} <= {"head", "second"}
    assert not any(n.startswith("second.encoder") for n, p in model.named_parameters() if p.requires_grad)
    optimizer = torch.optim.AdamW(model.head_parameters(), 3e-3)
    history = []
    for step in range(12):
        loss = sum(model(batch(), step).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert sum(history[-3:]) < sum(history[3:6])
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    assert not model.backbone.training


def test_labels_are_of_present_classes_inside_the_photograph(checkpoint):
    model = built(checkpoint)
    given = batch()
    seen_labels = labels_of(model, given, 0)
    assert set(seen_labels.unique().tolist()) <= {0, 1, 2, 255}
    assert 1 not in seen_labels[1] and (seen_labels[1, :8] == 255).all() and (seen_labels[0] != 255).all()
    nothing = Batch(given.images, torch.zeros(2, 2), given.boxes)
    assert set(labels_of(model, nothing, 0)[0].unique().tolist()) == {0}


def test_refined_labels_act_from_their_step_and_follow_the_decoder(checkpoint):
    model = built(checkpoint, refined_steps=5).eval()
    early, late = labels_of(model, batch(), 4), labels_of(model, batch(), 5)
    with torch.no_grad():
        for parameter in model.head.fuse.parameters():
            parameter.mul_(3).add_(0.05 * torch.randn_like(parameter))
    assert torch.equal(labels_of(model, batch(), 4), early)
    assert not torch.equal(labels_of(model, batch(), 5), late)


def test_sure_predictions_replace_labels_from_their_step(checkpoint):
    model = built(checkpoint, **PLUS | {"second": {"backbone": DINO, "confident_steps": 2, "confidence": 0.0}}).eval()
    assert (labels_of(model, batch(), 1) == 255).any()
    assert not (labels_of(model, batch(), 2) == 255).any()


@pytest.mark.parametrize("method", [{}, PLUS], ids=["weclip", "plus"])
def test_logits_and_maps_cover_an_image_of_any_size(checkpoint, method):
    model = built(checkpoint, **method).eval()
    images = batch(70, 100).images
    with torch.inference_mode():
        logits, maps = model.segment_logits(images), model.present_maps(images, torch.tensor([[1, 0], [0, 0]]))
    assert logits.shape == (2, 3, 5, 7) and maps.shape == (2, 2, 5, 7)
    assert 0.5 < maps[0, 0].max() <= 1 and not maps[0, 1].any() and not maps[1].any()


@pytest.mark.parametrize("amp", [torch.bfloat16, torch.float16])
def test_mixed_precision_leaves_the_maps_alone(checkpoint, amp):
    model = built(checkpoint, **PLUS)
    with torch.autocast("cpu", amp):
        terms = model(batch(), 0)
    assert all(term.isfinite() for term in terms.values())


def test_the_second_towers_weights_come_with_the_names(checkpoint, tmp_path):
    reference = build_method(
        TrainClassifier.model_validate({"method": {"name": "cam"}, "backbone": DINO}), ["background", *NAMES]
    )
    torch.save(reference.backbone.net.state_dict(), tmp_path / "dino.pth")
    second = {"backbone": DINO | {"checkpoint": str(tmp_path / "dino.pth")}}
    model = built(checkpoint, **PLUS | {"second": second})
    own = reference.backbone.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.second.encoder.state_dict().items())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"width": 15}, "no multiple of heads"),
        ({"blocks": [7]}, r"method.blocks: \[7\] do not exist"),
        ({"early_blocks": 9}, "CLIP has 3 blocks"),
        ({"second": {"backbone": {"name": "test_resnet", "pretrained": False}}}, "needs a transformer"),
        ({"second": {"backbone": DINO, "blocks": [4]}}, r"method.second.blocks: \[4\] do not exist"),
    ],
)
def test_what_does_not_fit_is_one_message(checkpoint, method, message):
    with pytest.raises(ValueError, match=message):
        built(checkpoint, **method)
