"""SegFormer's decoder against its definition, written out."""

import pytest
import torch
from torch.nn import functional as F

from wsss.segmentation.segformer import SegFormerDecoder

CHANNELS = (4, 6, 8, 10)


def pyramid(batch=2):
    generator = torch.Generator().manual_seed(0)
    sizes = ((12, 16), (6, 8), (3, 4), (3, 4))
    return [torch.randn(batch, c, *size, generator=generator) for c, size in zip(CHANNELS, sizes, strict=True)]


@torch.no_grad()
def test_equals_its_definition():
    torch.manual_seed(0)
    decoder = SegFormerDecoder(CHANNELS, 5, width=7).eval()
    decoder.linear_fuse.bn.running_mean.uniform_(-1, 1)
    levels = []
    for i, stage in enumerate(pyramid()):
        linear = getattr(decoder, f"linear_c{i + 1}").proj
        level = F.conv2d(stage, linear.weight[:, :, None, None], linear.bias)
        levels.insert(0, F.interpolate(level, (12, 16), mode="bilinear", align_corners=False))
    fused = decoder.linear_fuse.bn(decoder.linear_fuse.conv(torch.cat(levels, 1))).clamp(min=0)
    torch.testing.assert_close(decoder(pyramid()), decoder.linear_pred(fused))


def test_needs_four_stages():
    with pytest.raises(ValueError, match="four"):
        SegFormerDecoder((4, 6, 8), 5)
    with pytest.raises(ValueError, match="argument"):
        SegFormerDecoder(CHANNELS, 5, width=7)(pyramid()[:3])
