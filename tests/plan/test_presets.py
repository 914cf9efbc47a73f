"""Every preset plans, and its networks can be built and take a batch: without memory for weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wsss.config.loading import load_run
from wsss.config.run import Run
from wsss.plan.rehearsal import check_networks
from wsss.plan.run import plan_run

PRESETS = Path(__file__).parents[2] / "workflow" / "presets"
BUILT = ["seam", "psa", "irn", "afa", "toco", "toco-dagger", "acr", "clip-es", "weclip", "weclip-plus"]
RETRAINED = ["seam", "psa", "irn", "acr", "clip-es"]
SAME_NETWORKS = {
    "afa-coco": "afa",
    "toco-coco": "toco",
    "toco-dagger-coco": "toco-dagger",
    "acr-coco": "acr",
    "clip-es-coco": "clip-es",
    "weclip-coco": "weclip",
    "weclip-plus-coco": "weclip-plus",
}
SYSTEMS = [*BUILT, *SAME_NETWORKS]
WITHOUT_A_ROW = {"acr-coco", "weclip", "weclip-plus"}
"""Systems without a published number that a row of theirs could stand beside."""
LAYERS = {
    "affinitynet": ["seam", "affinitynet"],
    "irnet": ["seam", "irnet"],
    "deeplab": ["irn", "deeplab"],
    "par": ["seam", "par"],
    "propagation": ["photos", "propagation"],
}
"""Presets that stand over another one."""


def load(preset: str) -> Run:
    """A preset alone or, if it is a layer, over one that it is for; some name no data set."""
    layers = LAYERS.get(preset, ["shapes", preset] if preset.startswith("shapes-") else [preset])
    run: dict[str, Any] = {"preset": layers}
    if "photos" in layers:
        run["prepare_data"] = {"dataset": "folder", "images": "photos", "labels": "labels.csv"}
    elif not {*SYSTEMS, "shapes"} & set(layers):
        run["prepare_data"] = {"dataset": "voc"}
    return load_run("r", {"r": run}, PRESETS)


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_a_preset_plans(preset, monkeypatch):
    run = load(preset)
    monkeypatch.setattr("wsss.plan.steps.digest", lambda *_: "0")
    stages = [step.stage for step in plan_run("r", run).steps]
    assert stages[0] == "prepare_data" and stages[-1] == "evaluate"
    assert run.published.keys() <= {"voc", "coco"}


@pytest.mark.parametrize("preset", BUILT)
def test_a_systems_networks_are_built_and_take_a_batch(preset):
    run = load(preset)
    check_networks(run, 1, f"runs.{preset}")
    if run.train_affinity is not None:
        assert run.train_affinity.backbone is not None, "published systems start affinities from ImageNet"


@pytest.mark.parametrize("preset", RETRAINED)
def test_another_architecture_brings_its_own_options(preset):
    """`deeplab` over a system whose own segmentation is another one, as the run `voc` has it."""
    run = load_run("r", {"r": {"preset": [preset, "deeplab"], "prepare_data": {"dataset": "voc"}}}, PRESETS)
    alone = load_run("r", {"r": {"preset": "deeplab", "prepare_data": {"dataset": "voc"}}}, PRESETS)
    assert run.train_segmentation == alone.train_segmentation


def test_another_network_keeps_options_of_its_family_and_no_weights():
    def backbone(preset, **changed):
        run = {"preset": preset, "prepare_data": {"dataset": "voc"}, "train_classifier": {"backbone": changed}}
        return load_run("r", {"r": run}, PRESETS).train_classifier.backbone

    assert backbone("toco", name="deit_tiny_patch16_224").options == {"incomplete_patches": "drop"}
    assert backbone("toco-dagger").options["incomplete_patches"] == "drop"
    assert backbone("toco", name="resnet50").options == {}
    assert backbone("afa", name="mit_b2") == backbone("afa").model_copy(update={"name": "mit_b2", "checkpoint": None})


@pytest.mark.parametrize(("preset", "other"), SAME_NETWORKS.items())
def test_networks_on_coco_are_those_on_voc(preset, other):
    sections = [load(name).train_classifier for name in (preset, other)]
    assert sections[0].backbone == sections[1].backbone and sections[0].method.name == sections[1].method.name


@pytest.mark.parametrize("preset", SYSTEMS)
def test_a_system_needs_nothing_beside_it(preset):
    run = load(preset)
    assert run.prepare_data.dataset == ("coco" if preset.endswith("coco") else "voc")
    assert run.train_classifier.backbone.pretrained or run.train_classifier.backbone.checkpoint
    assert run.published.get(run.prepare_data.dataset) or preset in WITHOUT_A_ROW
