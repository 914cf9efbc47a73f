"""The user's own images: a folder with subfolders, and labels in a CSV or by folder; masks are optional."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from wsss.data.checks import Entry, Preflight, Problem
from wsss.data.dataset import image_size, read_image, read_mask
from wsss.data.files import MASK_SUFFIXES, SUFFIXES, UNREAD, Finder, files_below, unread, unread_masks
from wsss.data.labels_csv import LabelRow, LabelTable, read_labels
from wsss.data.matching import Matcher, matched
from wsss.data.names import checked_classes
from wsss.data.palette import voc_palette
from wsss.data.shrink import shrunk
from wsss.data.sources.base import Index
from wsss.data.sources.folder.class_folders import labels_of_folders
from wsss.data.sources.folder.settings import Settings
from wsss.data.split import stratified_split
from wsss.runtime.files import write_atomically
from wsss.runtime.targets import fitting, unique_places


@dataclass(frozen=True)
class Found:
    """An image with labels. image_id: its path below the folder, without suffix if that is unique."""

    image_id: str
    path: Path
    row: LabelRow


@dataclass(frozen=True)
class Survey:
    """Content of a folder and its labels. problems stop a run; remarks do not. unread: a line on unsupported files."""

    table: LabelTable
    found: list[Found]
    unlabelled: list[Path]
    problems: list[Problem]
    unread: str | None = None

    def labels(self, classes: list[str]) -> np.ndarray:
        """(N, K) uint8 of the images found."""
        flags = [[name in f.row.names for name in classes] for f in self.found]
        return np.array(flags, np.uint8).reshape(len(self.found), len(classes))


def survey(images: Path, labels: Path | None) -> Survey:
    """Matches a folder of images with its CSV, without decoding an image; without a CSV, folders are the labels.

    Raises:
        ValueError: no folder, no images, not a table of labels, or not folders of classes.
    """
    paths = list_images(images)
    if labels is None:
        table, problems = labels_of_folders(images, paths), []
        rows = dict(zip(paths, table.rows, strict=True))
    else:
        table = read_labels(labels)
        rows, problems = _matched(images, paths, table, labels)
    ids = image_ids(images, paths)
    found = [Found(ids[path], path, rows[path]) for path in paths if path in rows]
    return Survey(table, found, [path for path in paths if path not in rows], problems, unread(images))


def _matched(
    images: Path, paths: list[Path], table: LabelTable, labels: Path
) -> tuple[dict[Path, LabelRow], list[Problem]]:
    """Image → its row, and problems of the table."""
    match = Matcher(images, {path: path.relative_to(images) for path in paths}, labels.parent)
    rows, problems, strangers = matched(table, match)
    for row in strangers:
        found, mend = f"no image '{row.image}' under {images}", "correct the row"
        if row.image.lower().endswith(UNREAD):
            found, mend = f"'{row.image}' is of a format that is not read", "save it as JPEG or PNG and correct the row"
        problems.append(Problem(f"{labels} line {row.line}", found, mend, row.image))
    return rows, problems


def entries_of(seen: Survey, images: Path, masks: Path | None, preflight: Preflight) -> list[Entry]:
    """The files to open; problems and remarks on the table are added to `preflight`.

    Raises:
        ValueError: no row has an image, or no mask belongs to an image.
    """
    preflight.problems += seen.problems
    preflight.notes += [*seen.table.remarks, *filter(None, [seen.unread])]
    if seen.unlabelled:
        found = f"{len(seen.unlabelled)} image(s) have no row in {seen.table.path} and are left out"
        preflight.notes.append(f"{found}, e.g. {seen.unlabelled[0]}")
    if not seen.found and not seen.problems:
        raise ValueError(f"{seen.table.path}: no row belongs to an image under {images}")
    masks_of = _masks(images, masks, seen.found, preflight) if masks and seen.found else {}
    return [Entry(f.image_id, f.path, masks_of.get(f.path)) for f in seen.found]


def list_images(folder: Path) -> list[Path]:
    """Every image below a folder, sorted by path, without hidden files and folders.

    Raises:
        ValueError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of images")
    paths = sorted(path for _, path in files_below(folder))
    if not paths:
        more = f"; {left_out}" if (left_out := unread(folder)) else ""
        raise ValueError(f"{folder}: no image in it; accepted are {', '.join(SUFFIXES)}{more}")
    return paths


def read(settings: Settings, out: Path, _workers: int, preflight: Preflight) -> Index:
    """The table of a folder; large images are shrunk to `out/shrunk`."""
    chosen = settings.model_dump(exclude={"dataset", "on_bad_image"})
    return Index(*folder_index(**chosen, out=out, preflight=preflight))


def folder_index(
    images: Path,
    labels: Path | None,
    *,
    masks: Path | None,
    classes: list[str] | None,
    val_fraction: float,
    split_seed: int,
    max_edge: int | None,
    out: Path,
    preflight: Preflight | None = None,
) -> tuple[list[str], np.ndarray, list[dict[str, str]]]:
    """Class names, palette and rows of index.csv; copies of large images go to `out/shrunk`.

    Raises:
        ValueError: the images, the CSV or the masks have problems that are not skipped.
    """
    preflight = preflight or Preflight()
    seen = survey(images, labels)
    names = _ordered_classes(seen.table, classes)
    entries = entries_of(seen, images, masks, preflight)
    masks_of = {entry.image: entry.mask for entry in entries}
    bad = preflight.check(entries, len(names))
    seen = replace(seen, found=[f for f in seen.found if f.image_id not in bad])
    in_val = split(seen, names, val_fraction, split_seed)
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(_shrink, f, masks_of.get(f.path), max_edge, out) for f in seen.found]
    rows = []
    for f, job, val in zip(seen.found, jobs, in_val, strict=True):
        image, mask = job.result()
        rows.append(
            {
                "image_id": f.image_id,
                "image": str(image),
                "mask": str(mask or ""),
                "labels": ";".join(name for name in names if name in f.row.names),
                "split": "val" if val else "train",
                "measured": str(int(mask is not None)),
            }
        )
    return ["background", *names], voc_palette(), rows


def _ordered_classes(table: LabelTable, wanted: list[str] | None) -> list[str]:
    if wanted is None:
        return table.classes
    wanted = checked_classes("prepare_data.classes", wanted)
    used = {name for row in table.rows for name in row.names}
    missing = sorted(used - set(wanted))
    if missing:
        wrong = f"'{missing[0]}' of {table.path} is not among them"
        raise ValueError(f"prepare_data.classes: {wrong}; given: {', '.join(wanted)}")
    return wanted


def split(seen: Survey, classes: list[str], val_fraction: float, rng_seed: int) -> np.ndarray:
    """(N,) bool, True for val: from the CSV's column `split` if it has one, else by stratification.

    Raises:
        ValueError: an image without a split beside ones with it, or an empty split.
    """
    given = [f.row.split for f in seen.found]
    if len(given) < 2:
        raise ValueError(f"{seen.table.path}: {len(given)} image(s); train and val need one each")
    if not any(given):
        in_val = stratified_split(seen.labels(classes), val_fraction, rng_seed)
    elif missing := next((f for f, split in zip(seen.found, given, strict=True) if not split), None):
        raise ValueError(f"{seen.table.path} line {missing.row.line}: no split; give every row train or val, or none")
    else:
        in_val = np.array([split == "val" for split in given])
    if in_val.all() or not in_val.any():
        raise ValueError(f"{seen.table.path}: every image is in split '{given[0]}'; both train and val are needed")
    return in_val


def image_ids(root: Path, paths: list[Path]) -> dict[Path, str]:
    """Path → image id: the path below the folder, without suffix if that is unique."""
    relative = {path: path.relative_to(root) for path in paths}
    options = {path: (r.with_suffix(".png"), r.with_name(f"{r.name}.png")) for path, r in relative.items()}
    return {path: place.as_posix().removesuffix(".png") for path, place in unique_places(options).items()}


def _masks(images: Path, masks: Path, found: list[Found], preflight: Preflight) -> dict[Path, Path]:
    """Image → mask, named by the image's path without suffix, or with it if another image has the same."""
    if not masks.is_dir():
        raise ValueError(f"prepare_data.masks: no such folder '{masks}'")
    find = Finder(masks, MASK_SUFFIXES)
    other = None if masks.samefile(images) else unread_masks(masks)
    relative = {f.path: f.path.relative_to(images) for f in found}
    shared = Counter(r.with_suffix("") for r in relative.values())
    pairs = {}
    for path, r in relative.items():
        names = [r] + [r.with_suffix("")] * (shared[r.with_suffix("")] == 1)
        pairs[path] = next(filter(None, (find(name.as_posix()) for name in names)), None)
    pairs = {path: mask for path, mask in pairs.items() if mask}
    if not pairs:
        example = found[0].path.relative_to(images).with_suffix(".png")
        wanted = f"e.g. {example}; accepted are {', '.join(MASK_SUFFIXES)}"
        found_none = f"prepare_data.masks: no mask in '{masks}' is named like an image, {wanted}"
        raise ValueError("; ".join(filter(None, [found_none, other])))
    preflight.notes += filter(None, [other, find.remark()])
    used = {*pairs.values(), *(hit for hits in find.doubled.values() for hit in hits)}
    spare = [path for path in find.files if path not in used]
    if spare:
        preflight.notes.append(f"{len(spare)} file(s) in '{masks}' are named like no labelled image, e.g. {spare[0]}")
    return pairs


def _shrink(found: Found, mask: Path | None, max_edge: int | None, out: Path) -> tuple[Path, Path | None]:
    """Image and mask of a run: the originals, or copies with a longest edge of `max_edge` pixels."""
    if max_edge is None or max(image_size(found.path)) <= max_edge:
        return found.path, mask
    small = Image.fromarray(shrunk(read_image(found.path), max_edge))
    image_file = fitting(Path("shrunk", f"{found.image_id}.jpg"))
    write_atomically(out / image_file, lambda path: small.save(path, "JPEG", quality=95))
    if mask is None:
        return image_file, None
    mask_file = fitting(Path("masks", f"{found.image_id}.png"))
    small_mask = Image.fromarray(read_mask(mask)).resize(small.size, Image.Resampling.NEAREST)
    write_atomically(out / mask_file, lambda path: small_mask.save(path, "PNG"))
    return image_file, mask_file
