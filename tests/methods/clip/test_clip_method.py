"""The method `clip`: words, and maps of whole images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_clip import BACKBONE, save_clip
from wsss.config.loading import ConfigError, load_run
from wsss.config.stages import TrainClassifier
from wsss.config.views import CamViews
from wsss.localise.inference import cam_group, for_inference
from wsss.methods.load import build_method, load_classifier
from wsss.store.models import save_model

NAMES = ["cat", "sitting dog"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip") / "clip.safetensors")


def built(checkpoint, **method):
    section = {"method": {"name": "clip", "affinity_blocks": 2} | method, "training": None}
    settings = TrainClassifier.model_validate(section | {"backbone": BACKBONE | {"checkpoint": str(checkpoint)}})
    model = build_method(settings, ["background", *NAMES]).eval()
    return settings, model


def test_words_are_averaged_and_come_with_the_model_file(checkpoint, tmp_path):
    settings, model = built(checkpoint, prompts={"cat": ["cat", "kitten"]})
    model.name_classes(NAMES, checkpoint)
    _, other = built(checkpoint)
    other.name_classes(NAMES, checkpoint)
    assert not torch.allclose(model.text[0], other.text[0])
    torch.testing.assert_close(model.text[1:], other.text[1:])
    section = settings.model_dump(mode="json", exclude={"rng_seed"})
    save_model(model, tmp_path / "m.safetensors", "classifier", section, ["background", *NAMES])
    loaded = load_classifier(tmp_path / "m.safetensors")
    torch.testing.assert_close(loaded.text, model.text)


def test_maps_of_an_image_of_any_size_have_its_size(checkpoint):
    _, model = built(checkpoint, box_threshold=None)
    model.name_classes(NAMES, checkpoint)
    model = for_inference(model, torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (2, 37, 50, 3), np.uint8)
    labels = torch.tensor([[1, 1], [0, 1]])
    views = CamViews(scales=[1.0], flip=False, fusion="clip_es")
    cams = [full for full, _ in cam_group(model, images, labels, views)]
    assert [tuple(c.shape) for c in cams] == [(2, 37, 50), (1, 37, 50)]
    assert all(c.min() >= 0 and c.max() <= 1 + 1e-6 for c in cams)
    assert cams[0].max() > 0.5


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"prompts": {"sitting dg": ["dog"]}}, r"method\.prompts: no class 'sitting dg'; did you mean 'sitting dog'"),
        ({"prompts": {"cat": ["an animal"], "sitting dog": ["An  Animal"]}}, "'cat' and 'sitting dog' have the same"),
        ({"prompts": {"cat": ["very " * 500 + "long"]}}, r"method\.prompts\.cat: a phrase has 507 .* 77 are accepted"),
        ({"backgrounds": ["sky " * 500]}, r"method\.backgrounds: a phrase has .* 77 are accepted"),
        ({"backgrounds": ["sky", "Cat"]}, r"method\.backgrounds: 'Cat' is a phrase of class 'cat'"),
    ],
)
def test_bad_words_are_one_message(checkpoint, method, message):
    _, model = built(checkpoint, **method)
    with pytest.raises(ValueError, match=message):
        model.name_classes(NAMES, checkpoint)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"prompts": {"cat": []}}, r"\.prompts\.cat: list should have at least 1 item"),
        ({"prompts": {"cat": "kitten"}}, r"\.prompts\.cat: input should be a valid list; found 'kitten'"),
        ({"prompts": {"cat": ["cat", 1]}}, r"\.prompts\.cat\.1: input should be a valid string; found 1"),
        ({"prompts": {"cat": [""]}}, r"\.prompts\.cat\.0: phrase ''; accepted is visible text"),
        ({"prompts": {"cat": [" \u200b"]}}, r"\.prompts\.cat\.0: phrase ' \\u200b'; accepted is visible text"),
        ({"prompts": {"cat": ["a\0b"]}}, "accepted is visible text on one line"),
        ({"prompts": {"cat": ["cat", "cat"]}}, r"\.prompts\.cat: phrase 'cat' occurs twice"),
        ({"backgrounds": []}, r"\.backgrounds: list should have at least 1 item"),
        ({"backgrounds": ["sky", "\n"]}, r"\.backgrounds\.1: phrase"),
        ({"backgrounds": ["sky", "sky"]}, r"\.backgrounds: phrase 'sky' occurs twice"),
        ({"template": "a cat"}, r"\.template: 'a cat' has 0 places"),
        ({"template": "{} and {}"}, r"\.template: '{} and {}' has 2 places"),
        ({"template": "{} {name}"}, r"\.template: '{} {name}' has other braces"),
        ({"template": "{} {"}, "has other braces"),
        ({"temperature": 1e-30}, r"\.temperature: input should be greater than or equal to 0\.0001"),
    ],
)
def test_words_that_settings_refuse(method, message):
    run = {"preset": "clip-es", "prepare_data": {"dataset": "shapes"}, "train_classifier": {"method": method}}
    with pytest.raises(ConfigError, match=rf"runs\.x\.train_classifier\.method.*{message}") as error:
        load_run("x", {"x": run})
    assert "\n" not in str(error.value)


def test_more_blocks_than_the_tower_has_are_refused(checkpoint):
    with pytest.raises(ValueError, match=r"method\.affinity_blocks is 4; accepted are 0 to 3"):
        built(checkpoint, affinity_blocks=4)


def test_words_that_clip_has_not_learnt_are_told(checkpoint, caplog):
    _, model = built(checkpoint, prompts={"cat": ["кошка", "猫"]})
    with caplog.at_level("WARNING", "wsss"):
        model.name_classes(NAMES, checkpoint)
    assert "no phrase of cat has a letter" in caplog.text


def test_a_file_without_a_text_tower_says_what_to_name(tmp_path):
    alone = save_clip(tmp_path / "image.safetensors", text=False)
    _, model = built(alone)
    with pytest.raises(ValueError, match=r"no text tower.*text_checkpoint"):
        model.name_classes(NAMES, alone)
    with pytest.raises(ValueError, match="needs CLIP's text tower"):
        model.name_classes(NAMES, None)


def test_settings_refuse_a_training():
    with pytest.raises(ValueError, match="does not train its network"):
        TrainClassifier.model_validate({"method": {"name": "clip"}})
