"""WeCLIP's decoder, choice of blocks and dice loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from wsss.backbones.checkpoints import load_published
from wsss.methods.weclip.losses import confident_replaced, dice_loss, resized_cross_entropy
from wsss.methods.weclip.refinement import joint_features, select
from wsss.segmentation.token_decoder import TOKEN_HEAD_NAMES, TokenHead

KEYS = Path(__file__).parents[2] / "golden" / "data"


def test_the_published_names_are_the_whole_decoder():
    keys = json.loads((KEYS / "keys_weclip_decoder.json").read_text())["keys"]
    state = {name: torch.zeros(entry["shape"]) for name, entry in keys.items()}
    load_published(TokenHead(11, 768, 21, 256, 3, 8), state | {"par.kernel": torch.zeros(1)}, TOKEN_HEAD_NAMES)


def test_tokens_of_another_number_of_blocks_are_refused():
    head = TokenHead(2, 12, 4, width=16, layers=2, heads=4)
    with pytest.raises(ValueError, match="takes 2"):
        head.fuse([torch.randn(1, 12, 3, 5)])


def test_ignored_pixels_leave_the_masked_dice_alone():
    logits = torch.randn(1, 3, 4, 4)
    labels = torch.randint(0, 3, (1, 4, 4))
    labels[0, :2] = 255
    other = logits.clone()
    other[:, :, :2] += 3 * torch.randn(1, 3, 2, 4)
    torch.testing.assert_close(dice_loss(logits, labels), dice_loss(other, labels))
    assert (dice_loss(logits, labels, masked=False) - dice_loss(other, labels, masked=False)).abs() > 1e-5
    assert (labels == 255).sum() == 8  # the caller's labels stay as they are


def test_perfect_logits_cost_nothing_and_replace_ignored_labels():
    labels = torch.tensor([[[0, 1], [2, 255]]])
    target = torch.tensor([[[0, 1], [2, 2]]])
    logits = 30 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert resized_cross_entropy(logits, labels) < 1e-5
    assert dice_loss(logits, labels) < 1e-4
    assert torch.equal(confident_replaced(labels, logits), target)


def test_a_block_equal_to_the_affinity_is_kept():
    affinity = torch.rand(5, 5)
    attention = torch.stack([affinity, affinity - 0.9, affinity + 0.6])
    assert select(attention, affinity, "absolute").kept.tolist() == [True, False, False]
    assert select(attention, affinity, "signed").kept.tolist() == [True, False, True]


def test_dinos_features_go_to_clips_grid():
    assert joint_features(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 5, 5)).shape == (1, 4, 3, 4)
