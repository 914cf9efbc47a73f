"""The ResNet-50 of IRNet (Ahn 2019): stride 16, as its last stage is not strided; nor is it dilated."""

from __future__ import annotations

from wsss.backbones.timm import TimmBackbone


class IRNResNet(TimmBackbone):
    """A timm ResNet with bottlenecks whose last stage keeps the resolution and its kernels' reach.

    timm's own `output_stride=16` dilates that stage, which the published weights do not expect.
    """

    def __init__(self, name: str = "resnet50", *, pretrained: bool = False, checkpoint_path: str = "") -> None:
        super().__init__(name, pretrained=pretrained, checkpoint_path=checkpoint_path)
        first = self.net.layer4[0]
        first.conv2.stride = (1, 1)
        first.downsample[0].stride = (1, 1)
        self._measure()
