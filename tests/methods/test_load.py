"""Networks by name, and published checkpoints through the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from names import class_names
from wsss.backbones.build import backbone_kind, build_backbone
from wsss.backbones.checkpoints import load_published
from wsss.config import sections, stages
from wsss.config.loading import ConfigError, load_run
from wsss.config.outside import OutsideFile
from wsss.config.registry import REFINEMENTS
from wsss.methods.load import build_method
from wsss.plan.run import missing_inputs, plan_runs
from wsss.store.models import save_model

KEYS = Path(__file__).parents[1] / "golden" / "data"
WHOLE = {
    "afa_mit_b0": ({"name": "afa"}, {"name": "mit_b0"}),
    "toco_deit_tiny": ({"name": "toco"}, {"name": "deit_tiny_patch16_224", "pretrained": False}),
    "irn_CAM": ({"name": "cam"}, {"name": "irn_resnet50", "pretrained": False}),
}


def published(net: str) -> dict[str, torch.Tensor]:
    """A state dict of the published names and shapes, every tensor another constant."""
    keys = json.loads((KEYS / f"keys_{net}.json").read_text())["keys"]
    return {
        name: torch.full(entry["shape"], i / 1e4) if "float" in entry["dtype"] else torch.zeros(entry["shape"]).long()
        for i, (name, entry) in enumerate(keys.items())
    }


def classifier(method: dict, backbone: dict, **more) -> stages.TrainClassifier:
    return stages.TrainClassifier.model_validate({"method": method, "backbone": backbone, **more})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resnet38", "resnet38"),
        ("mit_b3", "mit"),
        ("irn_resnet50.tv_in1k", "irn"),
        ("deit_tiny_patch16_224.fb_in1k", "vit"),
        ("vit_base_r50_s16_384", "vit"),
        ("resnet50", "timm"),
    ],
)
def test_names_choose_the_network(name, kind):
    assert backbone_kind(name) == kind


@pytest.mark.parametrize("net", WHOLE)
def test_a_published_checkpoint_fills_the_whole_method(net, tmp_path):
    method, backbone = WHOLE[net]
    torch.save(published(net), tmp_path / "net.pth")
    model = build_method(
        classifier(method, backbone, checkpoint=str(tmp_path / "net.pth"), training=None), class_names(20)
    )
    loaded = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    assert all(t.min() == t.max() for t in loaded.values() if t.is_floating_point() and t.numel())


def test_a_trunk_is_taken_from_the_checkpoint_of_a_method(tmp_path):
    torch.save(published("afa_mit_b0"), tmp_path / "afa.pth")
    backbone = build_backbone(sections.Backbone(name="mit_b0", checkpoint=tmp_path / "afa.pth"))
    assert all(t.min() == t.max() for t in backbone.state_dict().values())


@pytest.mark.parametrize(("method", "name"), [("cam", "test_resnet"), ("toco", "test_vit")])
def test_a_trunk_is_taken_from_a_trained_classifier(method, name, tmp_path):
    backbone = {"name": name, "pretrained": False, "output_stride": None}
    trained = build_method(classifier({"name": method}, backbone), class_names(3))
    save_model(trained, tmp_path / "model.safetensors", "classifier", {}, ["background", "a", "b", "c"])
    settings = sections.Backbone(name=name, output_stride=None, checkpoint=tmp_path / "model.safetensors")
    mine, theirs = build_backbone(settings).state_dict(), trained.backbone.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in mine.items())


def test_timm_says_briefly_what_does_not_fit(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="timm cannot build backbone 'test_resnet'") as caught:
        build_backbone(sections.Backbone(name="test_resnet", checkpoint=tmp_path / "other.safetensors"))
    assert len(str(caught.value)) < 600


def test_timm_reads_its_own_weights(tmp_path):
    reference = timm.create_model("test_resnet").state_dict()
    save_file(reference, tmp_path / "own.safetensors")
    backbone = build_backbone(sections.Backbone(name="test_resnet", checkpoint=tmp_path / "own.safetensors"))
    assert all(torch.equal(tensor, reference[name]) for name, tensor in backbone.net.state_dict().items())


def test_a_checkpoint_of_another_network_lists_what_does_not_fit(tmp_path):
    torch.save(published("afa_mit_b1"), tmp_path / "b1.pth")
    with pytest.raises(ValueError, match=r"(?s)does not fit AFA.*of another shape"):
        build_method(classifier(*WHOLE["afa_mit_b0"], checkpoint=str(tmp_path / "b1.pth")), class_names(20))


@pytest.mark.parametrize(
    ("method", "backbone", "line"),
    [
        (
            {"name": "afa"},
            {"name": "test_resnet", "pretrained": False},
            "afa takes its affinity from a Mix Transformer",
        ),
        (
            {"name": "cam"},
            {"name": "resnet38", "output_stride": 16},
            "output_stride 16 given; 'resnet38' keeps its own",
        ),
        ({"name": "cam"}, {"name": "resnet38", "options": {"a": 1}}, "resnet38 takes the option batch_norm_momentum"),
        ({"name": "cam"}, {"name": "no_such_net", "pretrained": False}, "backbone 'no_such_net' is not known to timm"),
    ],
)
def test_what_does_not_fit_together_is_refused(method, backbone, line):
    with pytest.raises(ValueError, match=line):
        build_method(classifier(method, backbone), class_names(3))


def test_no_training_needs_a_checkpoint():
    with pytest.raises(ConfigError, match=r"train_classifier: training: null leaves random weights"):
        load_run("r", {"r": {"preset": "shapes", "train_classifier": {"training": None}}})


def test_checkpoints_are_inputs_of_the_workflow(tmp_path):
    file = tmp_path / "seam.pth"
    settings = {"preset": "shapes", "train_classifier": {"checkpoint": str(file), "training": None}}
    plan = plan_runs({"runs": {"r": settings}})["r"]
    step = next(step for step in plan.steps if step.stage == "train_classifier")
    assert step.files == {"checkpoint": OutsideFile(file=file)}
    assert missing_inputs(plan) == f"runs.r.train_classifier.checkpoint: no checkpoint '{file}'"


@pytest.mark.parametrize(
    ("net", "backbone", "settings"),
    [
        ("psa_resnet38_aff", "resnet38", REFINEMENTS["affinitynet"].Training(method="affinitynet")),
        ("irn_EdgeDisplacement", "irn_resnet50", REFINEMENTS["irnet"].Training(method="irnet")),
    ],
)
def test_a_published_affinity_network_is_used_as_it_is(net, backbone, settings):
    model = settings.load()(settings).build(build_backbone(sections.Backbone(name=backbone, pretrained=False)))
    load_published(model, published(net))
    loaded = {n: t for n, t in model.state_dict().items() if n not in ("offsets",) and t.is_floating_point()}
    assert all(t.min() == t.max() for n, t in loaded.items())


def test_with_a_published_affinity_network_nothing_is_trained(tmp_path):
    settings = {"preset": "shapes", "train_affinity": {"checkpoint": str(tmp_path / "aff.pth")}}
    plan = plan_runs({"runs": {"r": settings}})["r"]
    stages = {step.stage: step for step in plan.steps}
    assert "make_affinity_labels" not in stages
    assert stages["train_affinity"].files == {"checkpoint": OutsideFile(file=tmp_path / "aff.pth")}


def test_a_bare_trunk_refuses_a_mismatch(tmp_path):
    with pytest.raises(ValueError, match="missing"):
        load_published(
            build_backbone(sections.Backbone(name="mit_b0")), {"net.stages.0.layer_norm.weight": torch.ones(32)}
        )
