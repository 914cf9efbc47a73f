"""`wsss masks --sam`: transformers' mask generation with a tiny SAM of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from wsss.cli.masks import photographs, propose
from wsss.refine.proposals.store import MaskStore

EDGE, WIDTH = 64, 16


def save_sam(folder):
    from transformers import SamConfig, SamImageProcessor, SamModel

    own = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 2 * WIDTH}
    picture = {"image_size": EDGE, "patch_size": 16}
    config = SamConfig(
        vision_config=own | picture | {"output_channels": WIDTH, "window_size": 2, "num_pos_feats": 8},
        prompt_encoder_config=picture | {"hidden_size": WIDTH, "mask_input_channels": 4},
        mask_decoder_config=own | {"iou_head_depth": 2, "iou_head_hidden_dim": WIDTH},
    )
    torch.manual_seed(0)
    model = SamModel(config)
    with torch.no_grad():  # sure of itself, with sharp outlines: the pipeline drops all else
        model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(9)
        for network in model.mask_decoder.output_hypernetworks_mlps:
            network.proj_out.weight.mul_(1e9)
    model.save_pretrained(folder)
    whole, low = {"height": EDGE, "width": EDGE}, {"height": EDGE // 4, "width": EDGE // 4}
    SamImageProcessor(
        size={"longest_edge": EDGE}, pad_size=whole, mask_size={"longest_edge": EDGE // 4}, mask_pad_size=low
    ).save_pretrained(folder)


@pytest.fixture
def images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    (tmp_path / "photos" / "a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "photos" / "a" / "x.png")
    Image.fromarray(pixels[:, :30]).save(tmp_path / "photos" / "y.jpg")
    return tmp_path / "photos"


@pytest.mark.slow
def test_every_photograph_has_masks_of_its_size(tmp_path, images):
    save_sam(tmp_path / "sam")
    count, masks = propose(images, tmp_path / "m.h5", str(tmp_path / "sam"), 4, "cpu")
    assert count == 2
    with MaskStore(tmp_path / "m.h5") as store:
        found = [store.get("a/x", (40, 56)), store.get("y", (40, 30))]
    assert masks == sum(own.count for own in found) > 0


def test_ids_are_those_of_the_source_folder(images):
    assert list(photographs(images)) == ["a/x", "y"]


@pytest.mark.slow
def test_a_model_that_is_not_there_is_one_line(tmp_path, images, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"is no SAM that transformers loads .* facebook/sam-vit-base"):
        propose(images, tmp_path / "m.h5", str(tmp_path / "nothing"), 4, "cpu")
    assert not (tmp_path / "m.h5").exists()
