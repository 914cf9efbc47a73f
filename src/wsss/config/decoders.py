"""Options of this package's own segmentation decoders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from wsss.config.common import Blocks, Count, Fraction, Section, check_dropouts
from wsss.config.messages import nearest, shortened


class TokenDecoderOptions(Section):
    """WeCLIP's decoder on the tokens of a frozen transformer."""

    blocks: Blocks | None = Field(None, description="blocks whose tokens are fused; null: all but the last (published)")
    width: Count = Field(256, description="channels of the decoder")
    layers: Count = Field(3, description="transformer blocks of the decoder")
    heads: Count = Field(8, description="attention heads of a decoder's block")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self


class FeatureDecoderOptions(Section):
    """Convolutions on stored features."""

    width: Count = Field(128, description="channels")
    dropout: Fraction = Field(0.1, description="share of channels dropped in training")


class LargeFOVOptions(Section):
    """DeepLab v1's head."""

    width: Count = Field(512, description="channels")
    dilation: Count = Field(12, description="cells")
    dropout: Fraction = Field(0.5, description="share of channels dropped in training")
    batch_norm_momentum: Fraction = Field(0.1, description="share of a batch in the running statistics")
    train_norms: bool = Field(True, description="train the scales and shifts of normalisations")


class DeepLabV2Options(Section):
    """Sum of dilated convolutions."""

    rates: list[Count] = Field([6, 12, 18, 24], min_length=1, description="dilations, cells")


OPTIONS: dict[str, type[Section]] = {
    "TokenDecoder": TokenDecoderOptions,
    "FeatureDecoder": FeatureDecoderOptions,
    "LargeFOV": LargeFOVOptions,
    "DeepLabV2": DeepLabV2Options,
}
"""Architecture → its options; those of other architectures are segmentation_models_pytorch's, which checks them."""


def options_of(architecture: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of an architecture of this package, with the defaults of those not given; else unchanged.

    Raises:
        ValueError: an unknown option, or a value of the wrong kind; names the first.
    """
    known = OPTIONS.get(architecture)
    if known is None:
        check_dropouts(options)
        return dict(options)
    if unknown := next((name for name in options if name not in known.model_fields), None):
        accepted = ", ".join(known.model_fields)
        raise ValueError(
            f"{architecture} takes the options {accepted}; given is {unknown}{nearest(unknown, known.model_fields)}"
        )
    try:
        return known.model_validate(dict(options)).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where, reason = ".".join(map(str, ("options", *first["loc"]))), first.get("ctx", {}).get("error", first["msg"])
        found = f"; found {shortened(first['input'])}" if first["loc"] else ""
        raise ValueError(f"{where}: {str(reason)[0].lower()}{str(reason)[1:]}{found}") from None


def listed() -> str:
    """Every architecture's options with their defaults, on one line."""

    def told(options: type[Section]) -> str:
        defaults = {name: field.default for name, field in options.model_fields.items()}
        return ", ".join(f"{name} {json.dumps(value)}" for name, value in defaults.items())

    return "; ".join(f"{name}: {told(options)}" for name, options in OPTIONS.items())
