"""Images named on the command line of `wsss predict`, and its output paths."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsss.config.common import DEVICE
from wsss.config.hints import lacking, making
from wsss.config.messages import nearest
from wsss.data.files import SUFFIXES
from wsss.data.sources.folder.index import list_images
from wsss.data.text import read_text
from wsss.runtime.files import regular
from wsss.runtime.targets import refuse_inside, refuse_sources, require_folder, unique_places

TABLES = {
    "classes.csv": ("id", "name", "red", "green", "blue"),
    "images.csv": ("mask", "image"),
    "failed.csv": ("image", "reason"),
}
"""Headers of the CSV files beside the masks."""


def require_device(name: str) -> None:
    """Checks a device's name without torch, which takes seconds to import.

    Raises:
        ValueError: it is no name of a device.
    """
    if not re.fullmatch(DEVICE, name):
        raise ValueError(f"--device '{name}'; accepted: auto, cpu, cuda or cuda:N")


def class_ids(class_names: Sequence[str], chosen: Sequence[str]) -> frozenset[int] | None:
    """The ids of the chosen classes; None: all. class_names: background first.

    Raises:
        ValueError: unknown class.
    """
    known = class_names[1:]
    if unknown := next((name for name in chosen if name not in known), None):
        raise ValueError(f"--classes: no class '{unknown}'{nearest(unknown, known)}; known: {', '.join(known)}")
    return frozenset(map(class_names.index, chosen)) or None


def network_of(run: Path) -> tuple[Path, Path]:
    """The model of a run that decodes masks, and the folder of the step that applied it.

    Raises:
        ValueError: the run has none, or none yet, or it is gone.
    """
    for network, segment in (("train_segmentation", "segment"), ("train_classifier", "segment-end_to_end")):
        folders = run / network, run / segment
        if all(os.path.lexists(folder) for folder in folders):
            found = folders[0] / "model.safetensors"
            if gone := next((path for path in (found, folders[1]) if not path.exists()), None):
                raise ValueError(f"{gone}: no longer exists; make it again with: {making(run)}")
            return found, folders[1]
    if (run / "miou.csv").is_file():
        raise ValueError(
            f"{run}: is finished, and trains no network that decodes masks; set train_segmentation, or a method "
            "that decodes (e.g. toco)"
        )
    raise ValueError(lacking(run, "no trained model there"))


def find_images(sources: Sequence[str]) -> dict[Path, Path]:
    """Image → path of its mask below the output folder.

    Raises:
        ValueError: a source is no folder, file, pattern or list, or has no images.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for source in sources:
        for image, place in _images_of(source):
            found.setdefault(os.path.abspath(image), (image, place))  # noqa: PTH100 (links stay as they are)
    if not found:
        raise ValueError(f"{', '.join(sources)}: no images listed")
    return _mask_names(dict(found.values()))


def _images_of(source: str) -> Iterator[tuple[Path, Path]]:
    """(image, path below the output folder) of one source."""
    if not source.strip():
        raise ValueError(f"'{source}': an empty name; accepted are folders, images, patterns and .txt lists")
    path = Path(source)
    if path.is_dir():
        yield from ((image, image.relative_to(path)) for image in list_images(path))
    elif path.suffix.lower() == ".txt" and path.is_file():
        for _, line in read_text(path).written():
            meant = dict.fromkeys(filter(None, (line, line.strip())))
            ways = [(Path(folder, name), name) for name in meant for folder in ("", path.parent)]  # read from anywhere
            found = next(((way, name) for way, name in ways if _is_there(way)), None)
            if found or line.strip():
                image, name = found or (Path(line.strip()), line.strip())
                yield image, _below(Path(name))
    elif path.is_file():
        yield path, Path(path.name)
    else:
        names = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 (Path.glob refuses absolute patterns)
        matches = [Path(name) for name in names if Path(name).suffix.lower() in SUFFIXES and Path(name).is_file()]
        if not matches:
            raise ValueError(f"{source}: no such folder, image, pattern or list of images")
        yield from ((match, _below(match)) for match in matches)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _below(path: Path) -> Path:
    """The path without parts that lead out of the output folder."""
    parts = [part for part in path.parts if part not in (path.anchor, "..", ".")]
    return Path(*parts)


def _mask_names(found: dict[Path, Path]) -> dict[Path, Path]:
    """Image → PNG path; images that would have one path keep their suffixes, or their folders' names."""

    def options(image: Path, place: Path) -> list[Path]:
        places = [place, _below(image), _below(image.absolute())]
        return [png for p in places for png in (p.with_suffix(".png"), p.with_name(f"{p.name}.png"))]

    return {image: Path(p) for image, p in unique_places({i: options(i, p) for i, p in found.items()}).items()}


def products(mask: Path, *, overlay: bool, softmax: bool) -> dict[str, Path]:
    """Kind → path of the files written for an image."""
    kinds = {"mask": ".png", "overlay": ".overlay.jpg", "softmax": ".npz"}
    wanted = {"mask": True, "overlay": overlay, "softmax": softmax}
    return {kind: mask.with_suffix(suffix) for kind, suffix in kinds.items() if wanted[kind]}


def check_out(out: Path, images: dict[Path, Path], sources: Sequence[str], *, overlay: bool, softmax: bool) -> None:
    """Checks that no input is overwritten, and that repeating the command would not read its output.

    Raises:
        ValueError: the output is no folder, or an output path is an input or another program's file; names it.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: not a folder")
    require_folder(out)
    targets = [t for m in images.values() for t in products(out / m, overlay=overlay, softmax=softmax).values()]
    refuse_sources(targets, images)
    for source in sources:
        if Path(source).is_dir():
            refuse_inside(out, Path(source))
        elif not Path(source).is_file():
            _refuse_matches(source, targets)
    tables = {name: _is_ours(out / name, header) for name, header in TABLES.items() if (out / name).exists()}
    if foreign := next((name for name, ours in tables.items() if not ours), None):
        raise ValueError(f"{out / foreign}: not a table of predict; choose another --out")
    if "classes.csv" not in tables and (taken := next((t for t in targets if t.exists()), None)):
        raise ValueError(f"{taken}: already exists, and is not from predict; choose another --out")


def _is_ours(path: Path, header: Sequence[str]) -> bool:
    with regular(path).open("rb") as file:
        return file.readline().strip() == ",".join(header).encode()


def _refuse_matches(pattern: str, targets: Sequence[Path]) -> None:
    """Raises ValueError if a pattern matches a mask, which a repeated command would then read."""
    wanted = os.path.abspath(pattern)  # noqa: PTH100
    for target in targets:
        name = os.path.abspath(target)  # noqa: PTH100
        if ("**" in wanted or name.count("/") == wanted.count("/")) and fnmatch.fnmatch(
            name, wanted.replace("**/", "*")
        ):
            raise ValueError(f"{target}: the pattern {pattern} would find it; choose another --out")
