"""DenseCRF of class probabilities: which classes take part."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss.config.sections import CRF
from wsss.segmentation.inference import NEGLIGIBLE, crf_labels

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("classes", [2, 21, 81])
def test_an_undecided_network_has_labels(classes):
    share = np.full((classes, 24, 32), 1 / classes, np.float32)
    share[-1, :, 16:] += 1e-3
    (label,) = crf_labels([IMAGE], [share], CRF(), CPU)
    assert set(np.unique(label)) <= {0, classes - 1}


def test_what_is_improbable_everywhere_takes_no_part_and_changes_little():
    share = np.random.default_rng(1).dirichlet([2.0, 2.0, 2.0], (24, 32)).transpose(2, 0, 1).astype(np.float32)
    more = np.concatenate([share * 0.96, np.full((2, 24, 32), 0.4 * NEGLIGIBLE, np.float32)])
    without, with_them = crf_labels([IMAGE, IMAGE], [share, more], CRF(), CPU)
    assert with_them.max() <= 2 and (without == with_them).mean() > 0.99
