"""Building of segmentation networks."""

from __future__ import annotations

from wsss.backbones.base import Backbone
from wsss.backbones.build import build_backbone
from wsss.config.decoders import options_of
from wsss.config.stages import TrainSegmentation
from wsss.segmentation.dilated import DECODERS
from wsss.segmentation.frozen import FrozenTokens
from wsss.segmentation.network import BackboneNet, SegmentationNet, Segmenter
from wsss.segmentation.stored_decoder import FrozenNet


def build_segmentation(settings: TrainSegmentation, num_classes: int, backbone: Backbone | None = None) -> Segmenter:
    """The segmentation network of a settings section; its encoder copies weights and freezing from `backbone`."""
    source, options = settings.backbone, options_of(settings.architecture, settings.options)
    if settings.uses_features:
        frozen = backbone or build_backbone(source, weights=False)
        return FrozenNet(frozen, settings.stages, num_classes, options)
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
