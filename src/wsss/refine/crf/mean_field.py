"""Mean-field inference in a fully connected CRF, in torch (Krähenbühl & Koltun 2011, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss.config.sections import CRF
from wsss.refine.crf.lattice import PermutohedralLattice


def pixel_features(height: int, width: int, sxy: float, device: torch.device | None = None) -> Tensor:
    """Pixel positions (1, 2, H, W), x before y, in units of `sxy` pixels."""
    y = torch.arange(height, device=device, dtype=torch.float32)[:, None].expand(height, width)
    x = torch.arange(width, device=device, dtype=torch.float32).expand(height, width)
    return torch.stack([x, y])[None] / sxy


def bilateral_features(images: Tensor, sxy: float, srgb: float) -> Tensor:
    """Positions and colours (B, 5, H, W) of images (B, 3, H, W), in units of sxy pixels and srgb levels."""
    positions = pixel_features(*images.shape[-2:], sxy, images.device)
    return torch.cat([positions.expand(len(images), -1, -1, -1), images.float() / srgb], dim=1)


def as_rows(maps: Tensor) -> Tensor:
    """(B, D, H, W) → (B, H·W, D), the points of the lattice."""
    return maps.flatten(2).transpose(1, 2)


class _Kernel:
    """A symmetrically normalised Gaussian kernel: weight · D^−½ K D^−½, with D the row sums of K."""

    def __init__(self, features: Tensor, weight: float, batch: int) -> None:
        self.lattice = PermutohedralLattice(as_rows(features))
        ones = features.new_ones(len(features), self.lattice.points, 1)
        self.scale = (self.lattice.filter(ones) + 1e-20).rsqrt()
        self.weight = weight
        self.shared = len(features) == 1 < batch

    def message(self, marginals: Tensor) -> Tensor:
        """The kernel applied to marginals, (B, N, L) → (B, N, L)."""
        if self.shared:  # one lattice filters the labels of all images as further channels
            folded = marginals.transpose(0, 1).flatten(1)[None] * self.scale
            filtered = self.lattice.filter(folded) * self.scale
            return self.weight * filtered[0].unflatten(1, marginals.shape[::2]).transpose(0, 1)
        return self.weight * self.scale * self.lattice.filter(marginals * self.scale)


@torch.no_grad()
def mean_field(images: Tensor, unary: Tensor, params: CRF) -> Tensor:
    """Marginals (B, L, H, W) of the Potts model after `params.steps` parallel updates.

    images: (B, 3, H, W) in 0..255. unary: (B, L, H, W) energies, −log p, on the images' device.

    Raises:
        ValueError: the shapes do not match.
    """
    if len(images) != len(unary) or images.shape[-2:] != unary.shape[-2:]:
        given = f"images {tuple(images.shape)} and unary {tuple(unary.shape)}"
        raise ValueError(f"{given} given; accepted: (B, 3, H, W) and (B, L, H, W)")
    batch, _, height, width = unary.shape
    positions = pixel_features(height, width, params.gaussian_sxy, unary.device)
    colours = bilateral_features(images, params.bilateral_sxy, params.bilateral_srgb)
    kernels = [
        _Kernel(positions, params.gaussian_weight, batch),
        _Kernel(colours, params.bilateral_weight, batch),
    ]
    score = -as_rows(unary)
    marginals = score.softmax(-1)
    for _ in range(params.steps):
        marginals = (score + sum(kernel.message(marginals) for kernel in kernels)).softmax(-1)
    return marginals.transpose(1, 2).unflatten(2, (height, width))
