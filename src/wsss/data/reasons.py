"""Why an image or mask cannot be used: Pillow's errors as a problem and a remedy."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from wsss.runtime.files import NoFile

MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS
"""Pillow refuses larger images as decompression bombs (178,956,970 pixels)."""
FAR = 100_000
"""Largest coordinate of an outline in pixels; drawing a larger one would take hours."""
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")
"""Image formats; MPO of cameras is opened as JPEG. Some of Pillow's other readers start programs or fetch files."""
EXACT = ("PNG", "TIFF", "BMP", "GIF")
"""Mask formats: lossless ones."""
AGAIN = "copy, download or export it again"
_HEADS = {
    b"\xff\xd8\xff": "a JPEG",
    b"RIFF": "a WebP",
    b"%!PS": "PostScript",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop document",
    b"II*\0\x10\0\0\0CR": "a raw photograph",
    b"PK\x03\x04": "a ZIP archive",
    b"version https://git-lfs": "a pointer of Git LFS, whose file is not fetched",
}
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")


class Unfit(Exception):
    """An image that can be decoded but not used. args: problem and remedy."""

    def __str__(self) -> str:
        return "; ".join(self.args)


def reason(error: Exception, path: Path, what: str) -> Unfit:
    """Pillow's error as a problem and a remedy. what: `image` or `mask`."""
    if isinstance(error, Unfit):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return Unfit(f"more than {MAX_PIXELS:,} pixels", "cut it into tiles or shrink it")
    if isinstance(error, UnidentifiedImageError):
        formats = FORMATS if what == "image" else EXACT
        found = f"not an image but {_kind(path)}" if what == "image" else f"no mask but {_kind(path)}"
        return Unfit(found, f"accepted are {', '.join(formats)}; {AGAIN}")
    if isinstance(error, NoFile | IsADirectoryError):
        found = "is a folder" if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ").partition(";")[0]
        return Unfit(found, "accepted is a file")
    if isinstance(error, PermissionError):
        return Unfit("cannot be opened (permission denied)", "change its permissions")
    text = str(error).partition(f"{path}: ")[2] or str(error) or type(error).__name__
    return Unfit(f"cut short or damaged ({text.splitlines()[0]})", AGAIN)


def _kind(path: Path) -> str:
    """Guess of the kind of a file that is no image of an accepted format."""
    with path.open("rb") as file:
        head = file.read(512)
    if name := next((name for magic, name in _HEADS.items() if head.startswith(magic)), None):
        return name
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF:
        return "HEIC or AVIF"
    if head.lstrip()[:1] == b"<":
        return "a web page or XML"
    printable = all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
    return "a text file" if printable else "something else, or an image of a format that is not accepted"
