"""The LargeFOV decoder."""

from __future__ import annotations

import torch

from wsss.segmentation.dilated import ToCoLargeFOV


def test_a_cell_sees_ten_cells_in_steps_of_the_dilation():
    decoder = ToCoLargeFOV(4, 3, width=8).double()
    features = torch.randn(1, 4, 31, 31, dtype=torch.float64, requires_grad=True)
    logits = decoder(features)
    assert logits.shape == (1, 3, 31, 31)
    decoder(features)[0, :, 15, 15].sum().backward()
    rows, columns = features.grad[0].abs().sum(0).nonzero().T
    assert set(rows.tolist()) == set(columns.tolist()) == {5, 10, 15, 20, 25}


def test_without_biases_it_is_positively_homogeneous():
    decoder = ToCoLargeFOV(4, 3, width=8).double()
    features = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(decoder(3 * features), 3 * decoder(features))
