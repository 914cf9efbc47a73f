"""Building of segmentation networks."""

from __future__ import annotations

from typing import Any

from torch import nn

from wsss.backbones.base import Backbone
from wsss.backbones.build import build_backbone
from wsss.backbones.stages import stage_channels
from wsss.config.decoders import options_of
from wsss.config.stages import TrainSegmentation
from wsss.segmentation.dilated import DECODERS
from wsss.segmentation.frozen import FrozenTokens, require_tokens
from wsss.segmentation.network import BackboneNet, SegmentationNet, Segmenter
from wsss.segmentation.stored_decoder import FeatureDecoder, FrozenNet
from wsss.segmentation.token_decoder import TokenHead


def build_segmentation(settings: TrainSegmentation, num_classes: int, backbone: Backbone | None = None) -> Segmenter:
    """The segmentation network of a settings section; its encoder copies weights and freezing from `backbone`."""
    source, options = settings.backbone, options_of(settings.architecture, settings.options)
    if settings.uses_features:
        frozen = backbone or build_backbone(source, weights=False)
        return _on_stages(frozen, settings, num_classes, options)
    if settings.architecture == "TokenDecoder":
        model: Segmenter = FrozenTokens(build_backbone(source, weights=False), num_classes, **options)
    elif decoder := DECODERS.get(settings.architecture):
        trunk = build_backbone(source, weights=False)
        model = BackboneNet(trunk, decoder(trunk.channels, num_classes, **options), num_classes)
    else:
        model = SegmentationNet(
            settings.architecture,
            source.name,
            num_classes,
            output_stride=source.output_stride,
            encoder_options=source.options,
            options=options,
        )
    if backbone is not None:
        model.load_encoder(backbone)
    return model


def _on_stages(backbone: Backbone, settings: TrainSegmentation, num_classes: int, options: dict[str, Any]) -> FrozenNet:
    """A decoder of the frozen backbone's stages, which the stored features hold."""
    channels = [stage_channels(backbone, stage) for stage in settings.stages]
    if settings.architecture == "TokenDecoder":
        shape = (options[name] for name in ("width", "layers", "heads"))
        decoder: nn.Module = TokenHead(len(channels), require_tokens(backbone).channels, num_classes, *shape)
    else:
        decoder = FeatureDecoder(channels, num_classes, **options)
    return FrozenNet(backbone, settings.stages, decoder, num_classes)
