"""The decoder of images and masks, shared by the preflight check and all later stages."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from wsss.data.intact import opened
from wsss.data.reasons import EXACT, FORMATS, MAX_PIXELS, Unfit, reason
from wsss.runtime.files import regular

__all__ = ["MAX_PIXELS", "MIN_EDGE", "as_rgb", "image_size", "inspect", "read_image", "read_mask"]

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # up to MAX_PIXELS nothing is wrong
warnings.filterwarnings("ignore", "Truncated File Read|Corrupt EXIF data", UserWarning)
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # ICC and XMP blocks of more than 1 MiB are common
MIN_EDGE = 16
"""Smallest edge in pixels; below it the deepest features are a single cell."""
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
"""Pillow modes that are converted to RGB, beside 16-bit grey."""
DEPTHS = (8, 10, 12, 14, 16)
"""Bit depths of sensors and scanners; a 16-bit file does not state how many bits it uses."""
DARK = 64
"""A 16-bit colour file whose highest 8-bit value is below this uses 14 bits or fewer."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → transposition that makes the image upright; other values are ignored."""


class Seen(NamedTuple):
    """Properties of an image.

    size: height and width as read. turn: its EXIF orientation, 1..8. depth: bits used of 16, or None.
    digest: of the file's bytes.
    """

    size: tuple[int, int]
    turn: int
    depth: int | None
    digest: bytes

    @property
    def turned(self) -> bool:
        """Whether EXIF rotates it by a quarter."""
        return self.turn >= 5

    @property
    def turned_unseen(self) -> bool:
        """Whether EXIF turns or flips it in a way that leaves its size as it is."""
        return self.turn > 1 and (not self.turned or self.size[0] == self.size[1])


@contextmanager
def readable(path: Path, what: str = "image") -> Iterator[None]:
    """Context that converts Pillow's errors on a bad file into a ValueError of one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(f"{path}: not a readable {what} (no such file)") from error
    except (Unfit, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: {reason(error, path, what)}") from error
    except Exception as error:  # a broken file may lead Pillow's readers anywhere
        raise ValueError(f"{path}: not a readable {what} ({reason(error, path, what)})") from error


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of `read_image`'s result, from the header alone.

    Raises:
        ValueError: not an image, or one of more than MAX_PIXELS.
    """
    with readable(path), Image.open(regular(path), formats=FORMATS) as image:
        return _size(image)


def read_image(path: Path) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB, rotated by its EXIF orientation; transparent pixels become white.

    Raises:
        ValueError: the file is not a whole image.
    """
    with readable(path), opened(regular(path).read_bytes(), FORMATS) as image:
        return _decoded(image, _is_deep(image))[0]


def as_rgb(image: Path | str | Image.Image | np.ndarray) -> np.ndarray:
    """An image of any accepted type as (H, W, 3) uint8 RGB.

    image: a file; a PIL image, whose EXIF orientation is ignored; or an array of uint8: (H, W) or (H, W, 1) grey,
    (H, W, 3) RGB, (H, W, 4) RGBA. Transparent pixels become white.

    Raises:
        ValueError: a file that is no complete image, or another type of array or pixels.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))):
            given = f"{image.dtype} of shape {image.shape}"
            raise ValueError(f"an image array is uint8 of shape (H, W), (H, W, 3) or (H, W, 4); given is {given}")
        image = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    elif not isinstance(image, Image.Image):
        raise ValueError(f"an image is a path, a PIL image or an array; given is a {type(image).__name__}")
    if image.mode not in MODES and not image.mode.startswith("I;16"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range; convert the image to RGB")
    if not min(image.size):
        raise ValueError(f"an image has pixels; given is one of {image.size[1]} × {image.size[0]}")
    return _flat(image, deep=False)[0]


def inspect(path: Path, min_edge: int = 1) -> Seen:
    """Properties of an image, decoded by the same steps as in `read_image`; a JPEG is decoded at reduced size.

    Raises:
        Unfit: several frames, too small, or pixels without a fixed range.
        Exception: whatever Pillow raises for a broken file.
    """
    data = regular(path).read_bytes()
    with opened(data, FORMATS) as image:
        deep = _is_deep(image)  # before the search for EXIF loads a PNG
        size, turn = _size(image), _turn(image)
        if min(size) < min_edge:
            raise Unfit(f"{size[1]}×{size[0]} px", f"both edges must have {min_edge} px or more")
        # a JPEG is checked by reading all of its bytes, at reduced size
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        return Seen(size, turn, _decoded(image, deep)[1], hashlib.blake2b(data, digest_size=16).digest())


def read_mask(path: Path) -> np.ndarray:
    """A palette or grey mask as (H, W) uint8 class ids, 255 = void; rotated by its EXIF orientation like images.

    Raises:
        ValueError: the file is not a complete image, or has colours instead of class ids.
    """
    with readable(path, "mask"), opened(regular(path).read_bytes(), EXACT) as image:
        if image.mode not in ("P", "L"):
            raise Unfit(f"mode {image.mode}", "a mask is a palette (P) or grey (L) image of class ids")
        _refuse_frames(image)
        turn = orientation(image)
        return np.array(image.transpose(_TURNS[turn]) if turn in _TURNS else image)


def values_of(mask: np.ndarray) -> frozenset[int]:
    """The set of values in a mask (H, W) uint8."""
    return frozenset(value for value, count in enumerate(Image.fromarray(mask).histogram()) if count)


def _refuse_frames(image: Image.Image) -> None:
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise Unfit(f"{image.n_frames} frames or pages", "save the intended one as a separate image")


def orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 if the tag is absent or invalid, or if Pillow rotates the format itself."""
    if image.format == "TIFF":
        return 1
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF blocks are broken in every way
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _turn(image: Image.Image) -> int:
    """EXIF orientation 1..8 of any format."""
    if image.format != "TIFF":
        return orientation(image)
    value = image.tag_v2.get(ExifTags.Base.Orientation)
    return value if value in _TURNS else 1


def _size(image: Image.Image) -> tuple[int, int]:
    """Height and width of the upright image."""
    return image.size if orientation(image) >= 5 else image.size[::-1]


def _decoded(image: Image.Image, deep: bool) -> tuple[np.ndarray, int | None]:
    """RGB (H, W, 3) uint8 of an opened image, and the bits used of a 16-bit grey file. deep: a 16-bit colour file."""
    _refuse_frames(image)
    if image.mode not in MODES and not image.mode.startswith("I;16"):
        raise Unfit(f"pixels of mode {image.mode} have no fixed range", "save it with 8 or 16 bits a channel")
    turn = orientation(image)
    image.load()
    return _flat(image.transpose(_TURNS[turn]) if turn in _TURNS else image, deep)


def _flat(image: Image.Image, deep: bool) -> tuple[np.ndarray, int | None]:
    """`_decoded` of an image that is upright."""
    depth = None
    if image.mode.startswith("I;16"):  # Pillow would cut 16-bit greys off at 255
        grey = np.asarray(image)
        depth = next(bits for bits in DEPTHS if grey.max(initial=0) < 2**bits)
        image = Image.fromarray((grey >> (depth - 8)).astype(np.uint8))
    elif deep and 0 < max(high for _, high in _extremes(image)) < DARK:
        raise Unfit("a 16-bit file that uses 14 bits or fewer", "save it with 8 bits a channel, from black to white")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return np.array(image.convert("RGB")), depth


def _is_deep(image: Image.Image) -> bool:
    """Whether a colour file has 16 bits per channel, of which Pillow keeps the upper eight."""
    if image.format == "TIFF":
        bits = image.tag_v2.get(ExifTags.Base.BitsPerSample, (8,))
        return max(bits if isinstance(bits, tuple) else (bits,)) > 8
    return any(";16" in str(tile.args) for tile in image.tile)


def _extremes(image: Image.Image) -> list[tuple[int, int]]:
    """Lowest and highest value of each colour channel, without alpha."""
    found = image.getextrema()
    channels = [found] if len(image.getbands()) == 1 else list(found)
    return channels[:-1] if image.getbands()[-1] in ("A", "a") else channels
