"""ResNet-38, the wide network A1 of Wu, Shen & van den Hengel 2019 (arXiv 1611.10080), at stride 8.

Module names are the published ones (`b4_3.conv_branch2a` …), so that the converted ImageNet weights and the
checkpoints of PSA and SEAM load without renaming.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone, require_stages

STAGES: tuple[tuple[str, ...], ...] = (
    ("conv1a",),
    ("b2", "b2_1", "b2_2"),
    ("b3", "b3_1", "b3_2"),
    ("b4", "b4_1", "b4_2", "b4_3", "b4_4", "b4_5"),
    ("b5", "b5_1", "b5_2"),
    ("b6", "b7"),
)
"""Module names of the stem and the five stages, which `ResNet38.freeze` counts."""

_TAPS = ("b4", "b5", "b6")


class ResNet38(Backbone):
    """The backbone with 105 M parameters: 4096 channels at stride 8, dilations 2 and 4 in the last stages.

    The pyramid is conv3 … conv6 of the published code: the inputs of b4, b5 and b6 and the output of b7, each after
    BatchNorm and ReLU. BatchNorm's scales and shifts are not trained.

    Args:
        batch_norm_momentum: momentum of BatchNorm's statistics (SEAM's DeepLab: 3e-4); None: they are fixed, also in
            training, as in PSA and SEAM.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, batch_norm_momentum: float | None = None) -> None:
        super().__init__()
        self.fixed = batch_norm_momentum is None
        self.channels, self.stride = 4096, 8
        self.pyramid_channels, self.pyramid_strides = [256, 512, 1024, 4096], [4, 8, 8, 8]
        self.conv1a = _conv(3, 64, 3)
        self._add_stage("b2", 3, 64, 128, 128, stride=2)
        self._add_stage("b3", 3, 128, 256, 256, stride=2)
        self._add_stage("b4", 6, 256, 512, 512, stride=2)
        self._add_stage("b5", 3, 512, 512, 1024, dilation=2)
        self.b6 = BottleneckBlock(1024, 2048, dilation=4, dropout=0.3)
        self.b7 = BottleneckBlock(2048, 4096, dilation=4, dropout=0.5)
        self.bn7 = nn.BatchNorm2d(4096)
        for norm in self._norms():
            norm.requires_grad_(False)
            norm.momentum = norm.momentum if self.fixed else batch_norm_momentum

    def _add_stage(
        self,
        name: str,
        blocks: int,
        inputs: int,
        middle: int,
        outputs: int,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        """Adds the blocks `name`, `name_1` …; the first changes width and stride, starting without dilation."""
        setattr(self, name, ResidualBlock(inputs, middle, outputs, stride, (1, dilation)))
        for i in range(1, blocks):
            setattr(self, f"{name}_{i}", ResidualBlock(outputs, middle, outputs, 1, (dilation, dilation)))

    def forward(self, images: Tensor) -> Tensor:
        return self.features_and_pyramid(images)[0]

    def features_and_pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.conv1a(images)
        pyramid = []
        for name in (name for stage in STAGES[1:] for name in stage):
            block = getattr(self, name)
            activated = block.activate(x)
            if name in _TAPS:
                pyramid.append(activated)
            x = block(x, activated)
        pyramid.append(F.relu_(self.bn7(x)))
        return pyramid[-1], pyramid

    def train(self, mode: bool = True) -> ResNet38:
        """Sets the mode; with fixed statistics BatchNorm stays in eval mode, and only the dropouts change."""
        super().train(mode)
        for norm in self._norms() if self.fixed else ():
            norm.eval()
        return self

    def freeze(self, stages: int) -> None:
        """Stop training the stem and the first `stages` stages; PSA and SEAM use 1 (conv1a and b2 … b2_2).

        Raises:
            ValueError: the network does not have that many stages.
        """
        require_stages(stages, len(STAGES) - 1, "ResNet-38")
        for name in (name for stage in STAGES[: stages + 1] for name in stage):
            getattr(self, name).requires_grad_(False)

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]


class ResidualBlock(nn.Module):
    """Pre-activation block of two 3×3 convolutions; `dilations` of the first and of the second."""

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = _conv(inputs, middle, 3, stride, dilations[0])
        self.bn_branch2b1 = nn.BatchNorm2d(middle)
        self.conv_branch2b1 = _conv(middle, outputs, 3, 1, dilations[1])
        self.conv_branch1 = None
        if inputs != outputs or stride != 1:
            self.conv_branch1 = _conv(inputs, outputs, 1, stride)

    def activate(self, x: Tensor) -> Tensor:
        """ReLU(BatchNorm(x)), the input of the block's convolutions."""
        return F.relu_(self.bn_branch2a(x))

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        shortcut = x if self.conv_branch1 is None else self.conv_branch1(activated)
        x = self.conv_branch2a(activated)
        return shortcut + self.conv_branch2b1(F.relu_(self.bn_branch2b1(x)))


class BottleneckBlock(nn.Module):
    """Pre-activation block 1×1 → dilated 3×3 → 1×1, with channel dropout before the last two convolutions."""

    def __init__(self, inputs: int, outputs: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = _conv(inputs, outputs // 4, 1)
        self.bn_branch2b1 = nn.BatchNorm2d(outputs // 4)
        self.conv_branch2b1 = _conv(outputs // 4, outputs // 2, 3, 1, dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(outputs // 2)
        self.conv_branch2b2 = _conv(outputs // 2, outputs, 1)
        self.conv_branch1 = _conv(inputs, outputs, 1)
        self.dropout = nn.Dropout2d(dropout)

    def activate(self, x: Tensor) -> Tensor:
        """ReLU(BatchNorm(x)), the input of the block's convolutions."""
        return F.relu_(self.bn_branch2a(x))

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        """`x` is not used: the shortcut of a widening block starts from the activation."""
        out = self.conv_branch2a(activated)
        out = self.conv_branch2b1(self.dropout(F.relu_(self.bn_branch2b1(out))))
        out = self.conv_branch2b2(self.dropout(F.relu_(self.bn_branch2b2(out))))
        return self.conv_branch1(activated) + out


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded to keep the size at stride 1."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
