"""What would end a run after hours is told before it begins."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from small_data import make_folder, make_voc
from tiny_clip import BACKBONE
from wsss.config.loading import ConfigError, load_run
from wsss.data.dataset import Dataset
from wsss.data.prepare import prepare_data
from wsss.plan.checks import Check, check_data
from wsss.plan.rehearsal import check_networks
from wsss.plan.views import check_views

PRESETS = Path(__file__).parents[2] / "workflow" / "presets"
CLIP = BACKBONE | {"output_stride": None}
VIT = {"name": "vit_tiny_patch16_224", "pretrained": False, "output_stride": None, "options": {}}


def run_of(changes, preset="shapes"):
    return load_run("x", {"x": {"preset": preset} | changes}, PRESETS)


def segmentation(**changes):
    return {"train_segmentation": changes}


def classifier(**changes):
    return {"train_classifier": changes}


REFUSED = {
    "options of another architecture": (
        segmentation(architecture="Unet", options={"decoder_atrous_rates": [6, 12, 18]}),
        r"x\.train_segmentation: cannot build Unet on 'test_resnet' with .*decoder_atrous_rates",
    ),
    "an option that nothing takes": (
        segmentation(options={"foo": 1}),
        r"train_segmentation: options\.foo: DeepLabV3Plus",
    ),
    "an option of the scores": (segmentation(options={"activation": "sigmoid"}), r"activation: .* begin with decoder_"),
    "a dilation of 0": (
        segmentation(options={"decoder_atrous_rates": [0, 6, 12]}),
        r"x\.train_segmentation: options\.decoder_atrous_rates: \[0, 6, 12\]; accepted are numbers above 0",
    ),
    "crops that no memory holds": (
        classifier(training={"augment": {"crop": 100_000}}),
        r"x\.train_classifier: a batch of 16 crop\(s\) of 100000 px takes 1920 GB, more than this machine's memory",
    ),
    "a network that no memory holds": (
        classifier(backbone=VIT, method={"name": "toco", "projection": [10**5, 10**5, 10**5]}),
        r"x\.train_classifier: the network takes 2\d\d GB, more than this machine's memory of \d+ GB; take",
    ),
    "views of crops that no memory holds": (
        classifier(method={"name": "seam", "rescale": [0.3, 64]}, training={"augment": {"crop": 2048}}),
        r"x\.train_classifier: a batch of 16 crop\(s\) of 2048 px at scale 64 takes 3299 GB, more than",
    ),
    "groups that do not divide a batch": (
        classifier(backbone=VIT, method={"name": "toco", "counted_images": 3}, training={"batch_size": 8}),
        r"x\.train_classifier: counted_images 3 does not divide the 8 images that a process has of a batch; change",
    ),
    "stages to compare that the network lacks": (
        classifier(method={"name": "seam", "taps": [5, 9]}),
        r"x\.train_classifier: stage 5 does not exist; this network has 5",
    ),
    "a block that the transformer lacks": (
        classifier(backbone=VIT, method={"name": "toco", "aux_block": 12}),
        r"x\.train_classifier: aux_block is 12; the backbone has 12 blocks",
    ),
    "local crops that do not fit": (
        classifier(
            backbone={"name": "test_vit", "pretrained": False, "output_stride": None, "options": {"img_size": 64}},
            method={"name": "toco", "crop_size": 96},
            training={"augment": {"crop": 64}},
        ),
        r"x\.train_classifier: 8 crops of 96 pixels do not fit into 64 × 64",
    ),
    "a shift beyond the crop": (
        classifier(method={"name": "seam", "translation": 96}, training={"augment": {"crop": 64}}),
        r"x\.train_classifier: method\.translation 96 leaves nothing of a crop of 64 px",
    ),
    "a stage to store that the network lacks": (
        {"compute_features": {"backbone": {"name": "test_resnet", "pretrained": False}, "stages": [9]}},
        r"x\.compute_features: stage 9 does not exist; this network has 5",
    ),
    "keys of a network without attention": (
        {"compute_features": {"backbone": {"name": "test_resnet", "pretrained": False}, "stages": ["keys"]}},
        r"x\.compute_features: stage keys does not exist; only transformers",
    ),
    "a stage to propagate over that the network lacks": (
        {"refine_cam": {"method": "propagation", "stages": [7]}, "train_affinity": None, "make_affinity_labels": None},
        r"x\.refine_cam: stage 7 does not exist; this network has 5",
    ),
    "an option of a backbone": (classifier(backbone={"options": {"foo": 1}}), r"train_classifier: timm cannot .*'foo'"),
    "misspelt": (
        classifier(backbone={"name": "resent50"}),
        r"x\.train_classifier: backbone 'resent50' is not known to timm; did you mean 'resnet50'\?",
    ),
    "misspelt, of the second network": (
        segmentation(init="backbone", backbone={"name": "resnet1O1"}),
        r"x\.train_segmentation: backbone 'resnet1O1' is not known .* 'resnet101'\?",
    ),
    "a transformer under a decoder for CNNs": (
        segmentation(init="backbone", backbone=VIT),
        r"x\.train_segmentation: cannot build DeepLabV3Plus on 'vit_tiny_patch16_224'",
    ),
    "another backbone than the classifier's": (
        segmentation(init="classifier", backbone={"name": "resnet18"}),
        r"x\.train_segmentation: .* need the same backbone for init: classifier",
    ),
    "one image a part": (
        segmentation(training={"batch_size": 8, "accumulate": 8}),
        r"x\.train_segmentation: BatchNorm .* 8 in 8 part\(s\) leaves 1 image\(s\) at a time",
    ),
    "a refinement's network that the backbone does not suit": (
        {"train_affinity": {"channels": [64] * 9}},
        r"x\.train_affinity: AffinityNet reads 9 backbone stages",
    ),
    "a stride that VGG does not have": (
        classifier(backbone={"name": "vgg16"}),
        r"x\.train_classifier: timm cannot build backbone 'vgg16' .*AssertionError; it may keep its own stride: output",
    ),
    "a misspelt layer": (
        classifier(backbone={"options": {"act_layer": "rleu"}}),
        r"x\.train_classifier: timm cannot build backbone .* KeyError 'rleu'",
    ),
    "grey images": (
        classifier(backbone={"options": {"in_chans": 1}}),
        r"x\.train_classifier: timm cannot build backbone .*'in_chans': 1.*Invalid channel dimensions",
    ),
    "too few stages to freeze": (
        classifier(training={"freeze_stages": 9}),
        r"x\.train_classifier: ResNet has 4 stages; cannot freeze 9",
    ),
    "too few quarters of a transformer to freeze": (
        classifier(backbone=VIT, training={"freeze_stages": 9}),
        r"x\.train_classifier: this transformer has 4 stages; cannot freeze 9",
    ),
    "an auxiliary classifier that the method lacks": (
        {"infer_cam": {"localiser": "aux"}},
        r"x\.infer_cam: localiser 'aux' needs an auxiliary classifier; CAM has none",
    ),
    "gradients of a method that takes tokens": (
        classifier(backbone=VIT, method={"name": "acr"}) | {"infer_cam": {"localiser": "layercam"}},
        r"x\.infer_cam: localiser 'layercam' needs a method that classifies its backbone's output; not ACR",
    ),
    "crops of one cell": (
        {"train_affinity": {"training": {"augment": {"crop": 4}}}},
        r"x\.train_affinity: training\.augment\.crop 4 has 1 × 1 cells of stride 4, .* need 2; take a larger crop",
    ),
    "crops without inner pairs": (
        {"train_affinity": {"inner_pairs": True, "training": {"augment": {"crop": 32}}}},
        r"x\.train_affinity: .* 8 × 8 cells of stride 4, .* within it \(inner_pairs\) need 9",
    ),
    "a stride that is not the network's to choose": (
        classifier(backbone={"name": "resnet38"}),
        r"x\.train_classifier: output_stride 8 given; 'resnet38' keeps its own",
    ),
}


def test_weights_are_loaded_before_anything_is_computed(tmp_path):
    (tmp_path / "w.pth").write_text("<html>404</html>")
    given = {"checkpoint": str(tmp_path / "w.pth")}
    affinity = {"train_affinity": given}
    method = {"name": "clip", "affinity_blocks": 2, "text_checkpoint": given["checkpoint"]}
    text = classifier(backbone=CLIP, method=method, training=None)
    text |= dict.fromkeys(("train_affinity", "make_affinity_labels", "refine_cam", "train_segmentation"))
    told = r"^x\.train_\w+(\.backbone|\.method)?\.(text_)?checkpoint: .* is a web page"
    parts = (classifier(backbone={"name": "test_resnet"} | given), classifier(**given), segmentation(backbone=given))
    for part in (*parts, affinity, text):
        run = run_of(part)
        with pytest.raises(ValueError, match=told):
            check_networks(run, 1, "x")


@pytest.mark.parametrize("case", REFUSED)
def test_networks_that_cannot_be_trained(case):
    changes, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        check_networks(run_of(changes), 1, "x")


UNCOMPUTED = {
    "train_segmentation.stages -1": {"train_segmentation": {"stages": [-1]}},
    "train_classifier.method.stage 0": {"train_classifier": {"method": {"stage": 0}}},
    "make_affinity_labels.stages -1": {"make_affinity_labels": None},
    "refine_cam.scale 1": {"refine_cam": {"scale": 1.0}},
    "infer_cam.scales 2": {"infer_cam": {"scales": [2.0]}},
    "segment.scales 0.5": {"segment": {"scales": [0.5]}},
    "infer_cam.flip: true": {"infer_cam": {"flip": True}},
    "segment.flip: true": {"segment": {"flip": True}},
}


@pytest.mark.parametrize("wanted", UNCOMPUTED)
def test_features_that_are_not_computed(wanted):
    with pytest.raises(ConfigError, match=rf"^runs\.x: {wanted} .*compute_features\.(stages|scales|flip)"):
        run_of({"prepare_data": {"dataset": "shapes"}} | UNCOMPUTED[wanted], "frozen")


@pytest.mark.parametrize("views", [{"localiser": "gradcam"}, {"geometry": "longest_edge", "edge": 300}])
def test_views_that_stored_features_do_not_have(views):
    with pytest.raises(ConfigError, match=r"^runs\.x: infer_cam\.(localiser gradcam needs images|edge: 300 is not)"):
        run_of({"prepare_data": {"dataset": "shapes"}, "infer_cam": views}, "frozen")


def test_a_batch_is_cut_by_processes_as_well():
    run = run_of({})
    check_networks(run, 1, "x")
    with pytest.raises(ValueError, match=r"x\.train_classifier: batch_size \d+ cannot be cut into 1 .* 7"):
        check_networks(run, 7, "x")


def test_parts_that_do_not_divide_a_batch_are_a_mistake_of_the_configuration():
    with pytest.raises(ConfigError, match=r"train_classifier\.training: accumulate 3 does not divide batch_size 8"):
        run_of(classifier(training={"batch_size": 8, "accumulate": 3}))


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["shapes", "shapes-irnet", "shapes-seam", "shapes-toco", "seam", "irn"])
def test_published_recipes_pass(preset):
    layers = ["shapes", preset] if preset.startswith("shapes-") else preset
    check_networks(run_of({}, layers), 1, "x")


@pytest.mark.parametrize(
    ("keep", "changes", "message"),
    [
        ("ef", {"choose_threshold": "oracle"}, r"x\.choose_threshold: oracle needs .* 0 of the 4 training images have"),
        ("abc", {"upper_bound": True}, r"x\.upper_bound: true needs a mask for every .* 3 of the 4"),
        ("abc", {"choose_threshold": "oracle"}, None),
        ("ef", {"choose_threshold": "auto"}, None),
    ],
)
def test_what_the_masks_cannot_answer(keep, changes, message, tmp_path):
    data = make_folder(tmp_path / "source")
    for mask in (tmp_path / "source" / "masks").iterdir():
        if mask.stem not in keep:
            mask.unlink()
    base = {"prepare_data": data, "choose_threshold": "auto", "upper_bound": False}
    run = run_of(base | changes, "photos")
    prepare_data(run.prepare_data, tmp_path / "out", 1)
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        check_data(run, Dataset(tmp_path / "out"), "x")


def test_masks_beside_the_measured_list_give_no_threshold(tmp_path):
    data = make_voc(tmp_path / "source") | {"measure_list": "other"}
    (tmp_path / "source" / "ImageSets" / "Segmentation" / "other.txt").write_text("x\n")
    run = run_of({"prepare_data": data, "choose_threshold": "oracle", "upper_bound": False})
    prepare_data(run.prepare_data, tmp_path / "out", 1)
    with pytest.raises(
        ValueError, match=r"oracle needs masks .* 2 of the 2 training images have one, of which none is"
    ):
        check_data(run, Dataset(tmp_path / "out"), "x")


TAKES_CROPS = {"name": "halonet26t", "pretrained": False, "output_stride": None}
VIEWS = {
    "images of another size than the crops": (
        classifier(backbone=TAKES_CROPS) | {"infer_cam": {"scales": [1]}},
        [(256, 256), (200, 300)],
        r"x\.infer_cam\.scales: the network refuses a view of 200 × 300 \(height × width\): .*; take larger",
    ),
    "views smaller than the network takes": (
        segmentation(architecture="LargeFOV", backbone=TAKES_CROPS, options={}) | {"segment": {"scales": [1, 0.5]}},
        [(512, 512), (256, 256)],
        r"x\.segment\.scales: the network refuses a view of 128 × 128 \(height × width\): ",
    ),
    "views that no memory holds": (
        {"infer_cam": {"scales": [1, 64]}},
        [(3000, 4000)],
        r"x\.infer_cam\.scales: a view of 192000 × 256000 \(height × width\) takes 1180 GB, more than this machine's",
    ),
}


@pytest.mark.parametrize("case", VIEWS)
def test_views_that_a_network_refuses_are_told_before_it_is_trained(case):
    changes, sizes, message = VIEWS[case]
    records = [SimpleNamespace(size=size) for size in sizes]
    dataset = SimpleNamespace(class_names=["background", "cat"], split=lambda _: records)
    with pytest.raises(ValueError, match=message):
        check_views(run_of(changes), dataset, "x")
    records[:] = records[:1]
    with nullcontext() if "memory" not in case else pytest.raises(ValueError, match=message):
        check_views(run_of(changes), dataset, "x")


def test_equal_networks_are_checked_once():
    first, other = run_of({}), run_of({"rng_seed": 1})
    assert Check("a", first).digest == Check("b", first).digest != Check("a", other).digest
    assert Check("a", first).digest != Check("a", first, 2).digest
