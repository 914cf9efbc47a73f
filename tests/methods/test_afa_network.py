"""AFA's training step with a tiny Mix Transformer, in each of its three phases."""

import pytest
import torch

from names import class_names
from wsss.backbones.mit import MiT
from wsss.backbones.timm import TimmBackbone
from wsss.data.batch import Batch
from wsss.methods.afa.network import AFA
from wsss.methods.afa.settings import Settings

TINY = {"hidden_sizes": (8, 16, 24, 32), "depths": (1, 1, 1, 2), "num_attention_heads": (1, 2, 2, 4)}


def settings(**options):
    return Settings(name="afa", **options)


def method(**options):
    torch.manual_seed(0)
    backbone = MiT("mit_b0", drop_path_rate=0.0, options=TINY)
    return AFA(backbone, class_names(3), settings(decoder_width=16, warmup_steps=10, refined_steps=20, **options))


def batch():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    boxes = torch.tensor([[0, 80, 0, 96], [8, 71, 0, 90], [0, 80, 0, 96]])
    return Batch(torch.randn(3, 3, 80, 96, generator=generator), labels, boxes)


@pytest.mark.parametrize("step, active", [(9, False), (10, True), (19, True), (20, True)])
def test_losses_and_gradients_are_finite_in_every_phase(step, active):
    net = method(freeze_norms=False)
    losses = net(batch(), step)
    assert set(losses) == {"classification", "segmentation", "affinity"}
    assert all(loss.shape == () and loss.isfinite() for loss in losses.values())
    assert bool(losses["segmentation"] > 0) == bool(losses["affinity"] > 0) == active
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert bool(net.decoder.linear_pred.weight.grad.abs().sum() > 0) == active
    assert bool(net.affinity.weight.grad.abs().sum() > 0) == active
    assert net.classifier.weight.grad.abs().sum() > 0


def test_propagated_labels_follow_the_affinity():
    net = method().eval()
    refined, same = net.pseudo_labels(batch(), propagated=False)
    assert same is refined
    refined_again, final = net.pseudo_labels(batch(), propagated=True)
    assert torch.equal(refined_again, refined)
    with torch.no_grad():
        net.affinity.bias.fill_(-30)  # nothing is alike: T = 0, so every class scores alike and background wins
    assert net.pseudo_labels(batch(), propagated=True)[1].unique().tolist() == [0, 255]
    assert final.shape == refined.shape == (3, 80, 96)
    assert (final[1, :8] == 255).all()
    assert (final[1, :, 90:] == 255).all()
    present = batch().labels
    for b in range(3):
        classes = set(final[b].unique().tolist()) | set(refined[b].unique().tolist())
        assert classes <= {0, 255, *(1 + k for k in range(3) if present[b, k])}


def test_a_batch_without_any_label_trains():
    net, empty = method(), batch()
    empty.labels.zero_()
    losses = net(empty, 25)
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize("step", [9, 19, 20])
def test_trains_in_half_precision(step):
    net = method()
    with torch.autocast("cpu", torch.bfloat16):
        losses = net(batch(), step)
    exact = net(batch(), step)
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.requires_grad)
    torch.testing.assert_close(losses["classification"].float(), exact["classification"], rtol=0.02, atol=0)


def test_schedule_decides_which_labels_supervise(monkeypatch):
    net, asked = method(), []
    labels = torch.full((3, 80, 96), 255)
    monkeypatch.setattr(net, "pseudo_labels", lambda _, propagated: asked.append(propagated) or (labels, labels))
    for step in (0, 9, 10, 19, 20):
        losses = net(batch(), step)
        assert losses["segmentation"] == losses["affinity"] == 0
    assert asked == [False, False, True]


@torch.no_grad()
def test_outputs_of_a_view():
    net, images = method().eval(), batch().images
    maps = net.activation_maps(images)
    assert maps.shape == (3, 3, 5, 6)
    assert maps.min() >= 0
    assert net.logits(images).shape == (3, 3)
    assert net.segment_logits(images).shape == (3, 4, 20, 24)
    assert net.pair_affinity(images).shape == (3, 30, 30)
    heads = {id(p) for p in net.head_parameters()}
    assert heads == {id(p) for n, p in net.named_parameters() if not n.startswith("backbone.")}


def test_norms_of_the_backbone_are_frozen_unless_told():
    frozen = [name for name, p in method().named_parameters() if not p.requires_grad]
    assert frozen
    assert all(name.startswith("backbone.") and "norm" in name for name in frozen)
    assert all(p.requires_grad for p in method(freeze_norms=False).parameters())


def test_errors_say_what_is_accepted():
    with pytest.raises(ValueError, match="counted_images 3 does not divide the 8 images"):
        method(counted_images=3).require_batch(8, 512)
    assert method(scales=[1, 0.25]).crop_scales == [1, 0.25]
    with pytest.raises(ValueError, match="Mix Transformer"):
        AFA(TimmBackbone("test_resnet"), class_names(3), settings())
    with pytest.raises(ValueError, match="last stage"):
        method(attention_blocks=(-3, -1))
    with pytest.raises(ValueError, match="background"):
        method(background=(0.6, 0.3))
    with pytest.raises(ValueError, match="warm-up"):
        settings(warmup_steps=9, refined_steps=3)


def test_energy_and_propagated_pairs_are_settings():
    plain, net = method(), method(energy_weight=0.01, refined_pairs=True)
    assert net(batch(), 0)["energy"] == 0
    net.load_state_dict(plain.state_dict())
    before, late = plain.eval()(batch(), 20), net.eval()(batch(), 20)
    assert late["energy"] < 0 and "energy" not in before
    assert late["segmentation"] == before["segmentation"] and late["affinity"] != before["affinity"]
