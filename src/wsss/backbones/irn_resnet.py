"""The ResNet-50 of IRNet (Ahn 2019): stride 16, with a last stage that is neither strided nor dilated."""

from __future__ import annotations

from wsss.backbones.timm import TimmBackbone


class IRNResNet(TimmBackbone):
    """A timm ResNet with bottlenecks whose last stage keeps the resolution without dilation.

    timm's `output_stride=16` dilates that stage, for which the published weights were not trained.
    """

    def __init__(self, name: str = "resnet50", *, pretrained: bool = False, checkpoint_path: str = "") -> None:
        super().__init__(name, pretrained=pretrained, checkpoint_path=checkpoint_path)
        first = self.net.layer4[0]
        first.conv2.stride = (1, 1)
        first.downsample[0].stride = (1, 1)
        self._measure()
