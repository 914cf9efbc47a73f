"""Segmentation networks: segmentation_models_pytorch on a timm encoder, and this package's decoders on any backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL.Image import Image
from torch import Tensor, nn

from wsss.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone
from wsss.data.augment import to_input
from wsss.data.images import as_rgb
from wsss.runtime.tensors import largest, resize

_STRIDE = 32
"""Inputs are padded to a multiple of this, as every decoder accepts."""


class Segmenter(nn.Module, ABC):
    """Normalised images (B, 3, H, W) of any size → logits (B, C, H, W).

    encoder: the pretrained part. mean, std: of the normalisation.
    """

    encoder: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: list[str]
    apply_to: Callable[[np.ndarray, bool], np.ndarray] | None = None
    """RGB (H, W, 3) uint8, fast → class ids (H, W) uint8, as the run segments images, if the model file says how."""

    @torch.inference_mode()
    def predict(self, image: Path | str | Image | np.ndarray, *, fast: bool = False) -> np.ndarray:
        """Class ids (H, W) uint8 of an image: a file, a PIL image, or uint8 (H, W), (H, W, 3) or (H, W, 4).

        A model of `results/{run}/model` sees the image as in `wsss predict --run`: shrunk, at all scales, with mirrors.
        fast: one scale, no mirror. Other model files: the image as it is, without mirror.

        Raises:
            ValueError: not an image.
        """
        pixels = as_rgb(image)
        if self.apply_to is not None:
            return self.apply_to(pixels, fast)
        inputs = to_input(pixels, self.mean, self.std)[None].to(next(self.parameters()).device)
        return largest(self(inputs)[0], 0).to(torch.uint8).cpu().numpy()

    @abstractmethod
    def load_encoder(self, backbone: Backbone) -> None:
        """Copies the weights of the same network to the encoder, and which of them are frozen.

        Raises:
            ValueError: the backbone is another network.
        """

    def head_parameters(self) -> list[nn.Parameter]:
        """Everything but the encoder."""
        encoder = {id(p) for p in self.encoder.parameters()}
        return [p for p in self.parameters() if id(p) not in encoder]


class BackboneNet(Segmenter):
    """A decoder on the last features of a backbone; its logits are resized to the image."""

    def __init__(self, backbone: Backbone, decoder: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.encoder, self.decoder = backbone, decoder
        self.mean, self.std = backbone.mean, backbone.std
        self.class_names = [str(i) for i in range(num_classes)]

    def forward(self, images: Tensor) -> Tensor:
        return resize(self.decoder(self.encoder(images)), images.shape[-2:], align_corners=False)

    def load_encoder(self, backbone: Backbone) -> None:
        try:
            self.encoder.load_state_dict(backbone.state_dict())
        except RuntimeError:
            kinds = f"{type(self.encoder).__name__} and {type(backbone).__name__}"
            raise ValueError(f"the encoder and the backbone to start from are different networks: {kinds}") from None
        frozen = {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_(name not in frozen)


class SegmentationNet(Segmenter):
    """Encoder and decoder: normalised images (B, 3, H, W) of any size → logits (B, C, H, W).

    Args:
        architecture: name of a model of segmentation_models_pytorch.
        encoder: timm name.
        output_stride: pixels per cell of the deepest features, for architectures with this argument.
        encoder_options, options: further arguments of timm and of the architecture.

    Raises:
        ValueError: the architecture cannot be built with these arguments.
    """

    def __init__(
        self,
        architecture: str,
        encoder: str,
        num_classes: int,
        *,
        output_stride: int | None = None,
        encoder_options: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        from wsss.backbones.timm import require_inert, require_known

        arguments = {**(encoder_options or {}), **(options or {})}
        require_inert(encoder, arguments)
        _check_options(architecture, options or {})
        require_known(encoder)
        if architecture.startswith("DeepLab") and output_stride is not None:
            arguments["encoder_output_stride"] = output_stride
        try:
            self.net = getattr(smp, architecture)(
                f"tu-{encoder}", encoder_weights=None, classes=num_classes, **arguments
            )
        except (TypeError, ValueError, RuntimeError, KeyError) as error:
            raise ValueError(f"cannot build {architecture} on '{encoder}' with {arguments}: {error}") from error
        self.mean, self.std = _normalisation(encoder)
        self.class_names = [str(i) for i in range(num_classes)]

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % _STRIDE, 0, -height % _STRIDE))
        return self.net(padded)[..., :height, :width]

    @property
    def encoder(self) -> nn.Module:
        return self.net.encoder

    def load_encoder(self, backbone: Backbone) -> None:
        """Copies the weights of the same network, a `TimmBackbone`, to the encoder, and which of them are frozen.

        Raises:
            ValueError: the backbone does not have all of the encoder's weights in equal shapes.
        """
        source = backbone.net.state_dict()
        target = self.net.encoder.model.state_dict()
        named = {name: source.get(name, source.get(_unflattened(name))) for name in target}
        wrong = [n for n, value in named.items() if value is None or value.shape != target[n].shape]
        if wrong:
            raise ValueError(
                f"{len(wrong)} of the encoder's {len(target)} tensors are not in the classifier's backbone, "
                f"e.g. {wrong[0]}; segmentation and classifier need the same backbone for init: classifier"
            )
        self.net.encoder.model.load_state_dict(named)
        frozen = {name for name, parameter in backbone.net.named_parameters() if not parameter.requires_grad}
        for name, parameter in self.net.encoder.model.named_parameters():
            parameter.requires_grad_(not frozen & {name, _unflattened(name)})


def _check_options(architecture: str, options: Mapping[str, Any]) -> None:
    """Checks a decoder's options, of which others would change the scores, their size or the encoder.

    Raises:
        ValueError: an option is none of the decoder's, or a number in it cannot be used.
    """
    for name, value in options.items():
        if name != "encoder_depth" and not name.startswith(("decoder_", "psp_")):
            accepted = "encoder_depth and those that begin with decoder_ or psp_"
            raise ValueError(f"options.{name}: {architecture} takes {accepted}")
        numbers = value if isinstance(value, list | tuple) else [value]
        if "drop" not in name and any(isinstance(n, int | float) and n <= 0 and n is not False for n in numbers):
            raise ValueError(f"options.{name}: {value}; accepted are numbers above 0")


def _unflattened(name: str) -> str:
    """timm's feature extractors name child `a.0` of a network `a_0`."""
    first, _, rest = name.partition(".")
    return f"{first.replace('_', '.', 1)}.{rest}"


def _normalisation(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    import timm

    cfg = timm.get_pretrained_cfg(encoder)
    return (tuple(cfg.mean), tuple(cfg.std)) if cfg else (IMAGENET_MEAN, IMAGENET_STD)
