import pytest
import torch

from wsss.localise.fusion import RULES, fuse, fuse_strided, multi_scale_cam, seam_infer_norm
from wsss.runtime.tensors import max_normalise, min_max_normalise, resize

SIZE, STRIDE, K = (45, 70), 16, 5
PRESENT = torch.tensor([True, False, True, False, False])


def views_of(seed, scales=(1.0, 0.5, 1.5)):
    g = torch.Generator().manual_seed(seed)
    grids = [[-(-round(n * s) // STRIDE) for n in SIZE] for s in scales]
    return [torch.rand(2, K, *grid, generator=g) for grid in grids]


@pytest.mark.parametrize("rule", RULES)
def test_maps_of_present_classes_within_bounds(rule):
    out = fuse(views_of(0), PRESENT, SIZE, rule)
    assert out.shape == (2, *SIZE) and out.min() >= 0 and out.amax((1, 2)).min() > 0.99 and out.max() <= 1
    assert fuse(views_of(0), torch.zeros(K, dtype=torch.bool), SIZE, rule).shape == (0, *SIZE)


@pytest.mark.parametrize("rule", RULES)
def test_each_class_is_on_its_own(rule):
    both, alone = PRESENT, torch.tensor([False, False, True, False, False])
    torch.testing.assert_close(fuse(views_of(1), both, SIZE, rule)[1:], fuse(views_of(1), alone, SIZE, rule))


@pytest.mark.parametrize("rule", ["psa", "minmax", "flipmax", "acr", "acr_patch"])
def test_mirroring_the_image_mirrors_the_maps(rule):
    views = views_of(2)
    mirrored = [v.flip(0) for v in views]  # the mirrored image's own mirror is the image
    straight = fuse(views, PRESENT, SIZE, rule)
    torch.testing.assert_close(fuse(mirrored, PRESENT, SIZE, rule), straight.flip(-1), atol=1e-6, rtol=1e-5)


def test_max_rule_crops_the_padding():
    """A map linear in x over the padded image stays that linear function of the pixel inside."""
    width = -(-SIZE[1] // STRIDE)
    ramp = (torch.arange(width) + 0.5).expand(1, 1, -(-SIZE[0] // STRIDE), width)
    total = fuse([torch.cat([ramp, ramp.flip(-1)])], torch.tensor([True]), SIZE, "max")[0, 10]
    inner = total[STRIDE : 3 * STRIDE]
    expected = (torch.arange(SIZE[1]) + 0.5)[STRIDE : 3 * STRIDE] / STRIDE
    torch.testing.assert_close(inner / inner[0], expected / expected[0])


def test_single_scale_formulas_in_float64():
    view = views_of(3, (1.0,))[0]
    up = resize(view.double(), SIZE, align_corners=False)[:, PRESENT]
    image, mirror = up[0], up[1].flip(-1)
    s = image + mirror
    low, high = s.amin((1, 2), keepdim=True), s.amax((1, 2), keepdim=True)
    expected = {
        "minmax": ((s - low - 1e-5) / (high - low + 1e-5)).clamp(min=0),
        "flipmax": min_max_normalise(torch.maximum(image, mirror)),
    }
    for rule, want in expected.items():
        torch.testing.assert_close(fuse([view], PRESENT, SIZE, rule).double(), want, atol=1e-6, rtol=1e-5)


def test_seam_norm_of_empty_maps_is_minus_one():
    cut, norm = seam_infer_norm(torch.zeros(2, 4, 5))
    assert (cut == 0).all() and torch.allclose(norm, torch.tensor(-1.0))


def test_strided_map_samples_the_same_maximum():
    strided, full = fuse_strided(views_of(4), PRESENT, SIZE, "max"), fuse(views_of(4), PRESENT, SIZE, "max")
    assert strided.shape == (2, 12, 18) and full.shape == (2, *SIZE)
    assert strided.amax((1, 2)).min() > 0.999 and strided.max() < 1


def test_multi_scale_always_includes_the_image_itself():
    def network(x):
        return (x[:, :2] * 3 - 1,)

    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(5))
    (a,), (b,) = (multi_scale_cam(network, images, s) for s in ((1.0, 0.5), (0.5,)))
    torch.testing.assert_close(a, b)
    (mirrored,) = multi_scale_cam(network, images.flip(-1), (0.5,))
    torch.testing.assert_close(mirrored, a.flip(-1), atol=1e-5, rtol=1e-5)


def test_normalising():
    x = torch.rand(3, 4, 7, 9, generator=torch.Generator().manual_seed(6)) * 5 + 2
    y = min_max_normalise(x)
    torch.testing.assert_close(min_max_normalise(3 * x + 1), y, atol=1e-4, rtol=1e-4)
    assert (y.amin((-2, -1)) == 0).all() and (min_max_normalise(torch.full((1, 2, 2), 7.0)) == 0).all()
    assert (min_max_normalise(x, margin=1e-5).amin((-2, -1)) < 0).all()
    torch.testing.assert_close(max_normalise(x) * (x.amax((-2, -1), keepdim=True) + 1e-5), x)


def test_resizing():
    labels = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
    for mode in ("nearest", "nearest-exact"):
        twice = resize(labels, (4, 4), mode=mode)
        assert twice.dtype == torch.uint8 and torch.equal(twice, labels.repeat_interleave(2, 1).repeat_interleave(2, 2))
    ramp = torch.linspace(0, 1, 5)[None, None].expand(1, 3, 5)
    torch.testing.assert_close(
        resize(ramp, (3, 9), align_corners=True), torch.linspace(0, 1, 9)[None, None].expand(1, 3, 9)
    )
    for kwargs, message in [({"mode": "bicubic"}, "bicubic"), ({}, "align_corners"), ({"mode": "area"}, "accepted")]:
        with pytest.raises(ValueError, match=message):
            resize(ramp, (3, 3), **kwargs)
    with pytest.raises(ValueError, match="max, psa, minmax, flipmax"):
        fuse(views_of(0), PRESENT, SIZE, "mean")
