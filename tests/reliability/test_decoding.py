"""One decoder: what the preflight accepts is read, in the size that the table says; the rest is refused by both."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from small_data import make_coco, make_folder, make_voc, picture, problem_of
from wsss.data.dataset import Dataset
from wsss.data.images import as_rgb, image_size, read_image, read_mask

PIXELS = np.asarray(picture(0))
HEIGHT, WIDTH = PIXELS.shape[:2]
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda x: np.rot90(x),
}
SAVES = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "MPO": {"save_all": True, "quality": 100, "subsampling": 0},
}


def exif(value):
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = value
    return block


@pytest.mark.parametrize("kind", SAVES)
@pytest.mark.parametrize("value", [*TURNS, 0, 9, 255])
def test_orientation(tmp_path, kind, value):
    path = tmp_path / "a.jpg"
    extra = {"append_images": [picture(1)]} if kind == "MPO" else {}
    picture(0).save(path, kind, exif=exif(value), **SAVES[kind], **extra)
    expected = TURNS.get(value, TURNS[1])(PIXELS)
    assert problem_of(path) is None
    image = read_image(path)
    assert image.shape[:2] == image_size(path) == expected.shape[:2]
    assert np.abs(image.astype(int) - expected).mean() < (12 if kind in ("JPEG", "MPO") else 1e-9)


def broken_exif(data):
    """A TIFF header with an orientation of 6 and a resolution whose number lies outside the block."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x011A, 5, 1, 0xFFFFFF00)
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + b"\0\0\0\0"
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def saved(kind="JPEG", image=None, **options):
    buffer = io.BytesIO()
    (image or picture(0)).save(buffer, kind, **options)
    return buffer.getvalue()


def big_blocks(icc=3 * 2**20, xmp=3 * 2**20):
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * xmp, zip=True)
    return saved("PNG", pnginfo=texts, icc_profile=bytes(icc))


def grey16(values, kind="PNG"):
    return saved(kind, Image.fromarray(np.resize(np.asarray(values, np.uint16), (24, 32))))


def rgb16(values):
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    samples = np.resize(np.asarray(values), (24, 32, 3)).astype(">u2")

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", 32, 24, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


NOISE = {kind: saved(kind, picture(0, (160, 200))) for kind in ("JPEG", "PNG")}


def within(kind, make):
    """A file with a changed middle: make(first half, second half)."""
    data = NOISE[kind]
    return make(data[: len(data) // 2], data[len(data) // 2 :])


ACCEPTED = {
    "JPEG with bytes after its end": saved() + saved(),
    "JPEG with restarts": saved(restart_marker_blocks=2),
    "JPEG with padding before its end": saved()[:-2] + bytes(50) + b"\xff\xff\xd9",
    "EXIF with a broken number": broken_exif(saved(exif=b"")),
    "EXIF that is none": saved(exif=b"Exif\0\0" + b"\xff" * 40),
    "PNG with large ICC and XMP blocks": big_blocks(),
    "JPEG with a large ICC profile": saved(icc_profile=bytes(2**20)),
    "16-bit RGB PNG": rgb16(range(0, 65000, 321)),
    "palette with transparency": saved("PNG", picture(0).quantize(8), transparency=3),
    "grey with a transparent value": saved("PNG", picture(0).convert("L"), transparency=3),
    "one-frame GIF": saved("GIF"),
    "BMP": saved("BMP"),
    "CMYK": saved("TIFF", picture(0).convert("CMYK")),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_passes_the_preflight_is_read(tmp_path, name):
    path = tmp_path / "a.png"
    path.write_bytes(ACCEPTED[name])
    assert problem_of(path) is None
    image = read_image(path)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[:2] == image_size(path)


def several(kind):
    return saved(kind, save_all=True, append_images=[picture(1)])


REFUSED = {
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image but PostScript"),
    "PDF": (b"%PDF-1.4\n", "not an image but a PDF"),
    "PPM": (saved("PPM"), "not an image but something else"),
    "TGA": (saved("TGA"), "not an image but something else"),
    "JPEG 2000": (saved("JPEG2000"), "not an image but something else"),
    "icon": (saved("ICO"), "not an image but something else"),
    "12 bits in a 16-bit RGB PNG": (rgb16(range(4096)), "a 16-bit file that uses 14 bits or fewer; save it"),
    "HEIC named JPEG": (b"\0\0\0\x18ftypheic" + bytes(99), "not an image but HEIC or AVIF; accepted are JPEG"),
    "AVIF": (b"\0\0\0\x20ftypavif" + bytes(99), "not an image but HEIC or AVIF"),
    "Photoshop": (b"8BPS\0\1" + bytes(99), "not an image but a Photoshop document"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image but a web page or XML"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS, whose file is"),
    "ZIP": (b"PK\x03\x04" + bytes(99), "not an image but a ZIP archive"),
    "several GIF frames": (several("GIF"), "2 frames or pages; save the intended one"),
    "several WebP frames": (several("WEBP"), "2 frames or pages"),
    "several PNG frames": (several("PNG"), "2 frames or pages"),
    "several TIFF pages": (several("TIFF"), "2 frames or pages"),
    "progressive JPEG cut short": (saved(progressive=True, quality=95)[:900], "cut short or damaged"),
    "PNG cut short": (saved("PNG")[:900], "cut short or damaged"),
    "JPEG without a piece": (within("JPEG", lambda a, b: a + b[999:]), "cut short or damaged"),
    "JPEG with a piece of another": (within("JPEG", lambda a, b: a + a[-5000:] + b), "do not fit its size"),
    "JPEG with a wrong block": (within("JPEG", lambda a, b: a + b"\xff\x21" * 99 + b[198:]), "its data break off"),
    "JPEG with an early end": (within("JPEG", lambda a, b: a + b"\xff\xd9"), "cut short or damaged"),
    "PNG with a changed byte": (within("PNG", lambda a, b: a + b"!" + b[1:]), "wrong checksum of its pixels"),
    "EXIF bomb": (saved("WEBP")[:60], "damaged|not an image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_preflight_refuses_is_not_read(tmp_path, name):
    data, message = REFUSED[name]
    path = tmp_path / "a.png"
    path.write_bytes(data)
    found = str(problem_of(path))
    assert message.split("|")[0] in found or message.split("|")[-1] in found
    with pytest.raises(ValueError, match=r"a\.png") as raised:
        read_image(path)
    assert found.partition(": ")[2] in str(raised.value) and "object at" not in str(raised.value)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("top", "bits"), [(255, 8), (1023, 10), (4095, 12), (16383, 14), (65535, 16)])
def test_deep_pixels_fill_the_range(tmp_path, kind, top, bits):
    path = tmp_path / "a.png"
    path.write_bytes(grey16([0, top // 2, top], kind))
    assert np.unique(read_image(path)).tolist() == [0, 127, 255]


def test_masks_are_read_from_what_keeps_their_values(tmp_path):
    path = tmp_path / "m.png"
    Image.fromarray(np.full((9, 9), 3, np.uint8)).save(path, "JPEG")
    with pytest.raises(ValueError, match=r"m\.png"):
        read_mask(path)


MAKE = {"folder": (make_folder, "photos/c.jpg"), "voc": (make_voc, "JPEGImages/b.jpg")}
MAKE |= {"coco": (make_coco, "train2014/1.jpg")}


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("source", MAKE)
@pytest.mark.parametrize("name", ["EXIF with a broken number", "PNG with large ICC and XMP blocks", "orientation 9"])
def test_every_source_reads_them(stage, tmp_path, source, name):
    make, file = MAKE[source]
    settings = make(tmp_path / "data")
    data = saved(exif=exif(9)) if name == "orientation 9" else ACCEPTED[name]
    (tmp_path / "data" / file).write_bytes(data)
    done = stage("prepare_data", tmp_path / "out", config=settings)
    if done.code:  # a mask that does not turn with its image is named
        assert "EXIF" in name and ("turn it as" in done.text or "annotations are for" in done.text), done.text
        return
    assert all(read_image(r.image).shape[:2] == r.size for r in Dataset(tmp_path / "out").records)


def test_masks_turn_as_their_images_do(tmp_path):
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for number in range(1, 10):
        tags = Image.Exif()
        tags[ExifTags.Base.Orientation] = number
        Image.fromarray(mask).save(tmp_path / "a.png", exif=tags)
        assert (read_mask(tmp_path / "a.png") == read_image(tmp_path / "a.png")[..., 0]).all()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((0, 0, 3), np.uint8), "given is one of 0 × 0"),
        (np.zeros((0, 5), np.uint8), "given is one of 0 × 5"),
        (Image.new("RGB", (3, 0)), "given is one of 0 × 3"),
        (np.zeros((3, 8, 8), np.uint8), r"given is uint8 of shape \(3, 8, 8\)"),
        (np.zeros((8, 8, 3)), "given is float64"),
        (Image.new("F", (8, 8)), "pixels of mode F"),
        ("", "is a folder; accepted is a file"),
        ("/dev/zero", "is a device; accepted is a file"),
        ("a\0b", "embedded null"),
        (b"x", "given is a bytes"),
    ],
)
def test_what_is_no_image_to_predict_is_a_value_error(given, told):
    with pytest.raises(ValueError, match=told):
        as_rgb(given)
