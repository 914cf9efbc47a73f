"""AFA's pseudo-labels: fusion over views, refinement inside the photograph."""

import torch
from torch.nn import functional as F

from wsss.localise.seeds import ignore_outside
from wsss.methods.afa.labels import multi_scale_maps, refine_in_boxes


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def stub(calls):
    """A linear net with maps at stride 8; its affinities hold the width of their view."""
    weight = rand(3, 3, 8, 8, seed=9) - 0.5

    def net(views):
        maps = F.conv2d(views, weight, stride=8)
        calls.append(tuple(maps.shape[-2:]))
        cells = maps.shape[-2] * maps.shape[-1]
        return maps, torch.full((len(views), cells, cells), float(views.shape[-1]))

    return net


def test_fusion_is_flip_equivariant_and_normalised():
    images = rand(2, 3, 32, 48) - 0.5
    maps, _, _ = multi_scale_maps(stub([]), images, (1.0, 0.5, 1.5))
    mirrored, _, _ = multi_scale_maps(stub([]), images.flip(-1), (1.0, 0.5, 1.5))
    torch.testing.assert_close(mirrored.flip(-1), maps, rtol=1e-4, atol=1e-5)
    assert maps.amin((-2, -1)).abs().max() == 0
    assert (maps.amax((-2, -1)) > 0.999).all()


def test_affinity_is_the_largest_scales_where_scales_begin_with_1():
    images = rand(2, 3, 32, 48)
    for scales in ((1.0, 0.5, 1.5), (1.0, 1.5, 0.5)):
        _, affinity, grid = multi_scale_maps(stub([]), images, scales)
        assert grid == (6, 9)
        assert affinity.shape == (2, 54, 54)
        assert (affinity == 72).all()
    calls = []
    _, affinity, grid = multi_scale_maps(stub(calls), images, (0.5, 1.5, 1.0))
    assert (affinity == 24).all()  # the half scale's
    assert grid == (2, 3)
    assert calls == [(4, 6), (2, 3), (6, 9)]


def test_refinement_sees_nothing_outside_the_box_and_treats_images_apart():
    images, scores = 255 * rand(3, 3, 32, 40), rand(3, 4, 32, 40, seed=1)
    present = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    boxes = torch.tensor([[4, 30, 0, 37], [0, 32, 0, 40], [4, 30, 0, 37]])
    refined = refine_in_boxes(images, scores, present, boxes, (1, 2), 3)
    alone = [refine_in_boxes(*(t[i : i + 1] for t in (images, scores, present, boxes)), (1, 2), 3) for i in range(3)]
    torch.testing.assert_close(refined, torch.cat(alone))
    outside = (ignore_outside(torch.zeros(3, 32, 40), boxes) == 255)[:, None]
    assert (refined * outside).abs().max() == 0
    assert refined[present == 0].abs().max() == 0
    assert refined[0, 0, 4:30, :37].min() > 0
    changed = refine_in_boxes(images.masked_fill(outside, 7), scores.masked_fill(outside, 7), present, boxes, (1, 2), 3)
    torch.testing.assert_close(changed, refined)
