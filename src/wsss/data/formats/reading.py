"""Reading of label maps from annotations of any supported format, for `wsss labels import` and corrections."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from wsss.config.labelling import readable_formats
from wsss.config.registry import FORMATS
from wsss.data.checks import AS_IDS, black_and_white
from wsss.data.files import files_below
from wsss.data.formats.regions import SizeOf


def read_annotations(
    source: Path, name: str, class_names: Sequence[str], size_of: SizeOf = lambda _: None
) -> dict[str, np.ndarray]:
    """Image id → label (H, W) uint8 of every annotated image of a folder or file.

    name: of the format; auto: detected. class_names: background first. size_of: size of an image by its name.

    Raises:
        ValueError: no such source, a format that cannot be read or detected, files that cannot be used, or masks of
            nothing but void.
    """
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    settings = FORMATS[recognised(source) if name == "auto" else name].Settings
    if not hasattr(settings, "reader"):
        raise ValueError(f"--format {name}: is only written; read are {', '.join(readable_formats())}")
    module, _, function = settings.reader.partition(":")
    chosen = settings(format=name if name != "auto" else recognised(source))
    found: dict[str, np.ndarray] = {}
    for image, label in getattr(import_module(module), function)(chosen, source, class_names, size_of):
        if image in found:
            raise ValueError(f"{source}: image '{image}' occurs twice; leave one")
        found[image] = label
    shown = {image: frozenset(np.unique(label).tolist()) for image, label in found.items()}
    if wrong := black_and_white(shown):
        white = next(image for image, values in shown.items() if 255 in values)
        raise ValueError(f"{source}, mask of '{white}': {wrong}; {AS_IDS}")
    if not found:
        raise ValueError(f"{source}: no annotated image of format {chosen.format} in it")
    return found


def recognised(source: Path) -> str:
    """The detected format of a folder or file; beside files of another format, PNGs are masks if they have palettes.

    Raises:
        ValueError: no format, or several.
    """
    names = [name for name in readable_formats() if FORMATS[name].Settings.recognises(source)]
    if len(names) > 1 and "png" in names and not any(map(_is_palette, files_below(source, suffixes=(".png",)))):
        names.remove("png")  # photographs lie beside a tool's files
    if len(names) != 1:
        found = f"files of {' and '.join(names)}" if names else "no file of a format that is read"
        raise ValueError(f"{source}: {found}; say format: {', '.join(names or readable_formats())}")
    return names[0]


def _is_palette(file: tuple[str, Path]) -> bool:
    """Whether a file is a PNG with a palette, like masks and unlike photographs."""
    with suppress(OSError, ValueError), Image.open(file[1], formats=("PNG",)) as image:
        return image.mode == "P"
    return False
