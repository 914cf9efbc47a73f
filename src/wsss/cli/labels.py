"""Export and import of label maps in other tools' formats.

wsss labels export results/photos --format labelme --out DIR
wsss labels import DIR --format labelme --run results/photos --out masks
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from wsss.cli.helping import Paragraphs
from wsss.config.hints import lacking
from wsss.config.labelling import readable_formats
from wsss.config.registry import FORMATS
from wsss.data.dataset import Dataset
from wsss.data.formats.labels import Labels
from wsss.data.formats.png.write import write_pngs
from wsss.data.formats.reading import read_annotations
from wsss.data.formats.regions import SizeOf, places
from wsss.data.matching import ByName
from wsss.data.names import checked_classes
from wsss.data.palette import voc_palette
from wsss.data.sheet import read_ids
from wsss.runtime.ending import plain_ending
from wsss.runtime.files import write_atomically
from wsss.runtime.targets import a_path, refuse_inside, require_folder
from wsss.store.maps import LabelStore, open_labels

LABELS = ("corrections", "make_pseudo_labels")
"""Steps of a run whose `train.h5` may contain the training labels of its model, in order of preference."""


def label_file(run: Path) -> Path:
    """The file of the labels that a run's model learns from; any other file is itself.

    Raises:
        ValueError: the run has none yet.
    """
    if run.is_file() or (run.suffix and not run.is_dir()):
        return run
    found = next((file for label in LABELS if os.path.lexists(file := run / label / "train.h5")), None)
    if found is None:
        raise ValueError(lacking(run, "no label maps there"))
    return found


def export(file: Path, name: str, out: Path, ids: Path | None = None, *, images: bool = False) -> int:
    """Writes label maps in a format to a new or empty folder; returns the number of images.

    file: HDF5 file of labels, or the folder of a run. ids: CSV of the images to write; None: all.
    images: also copy the run's images, which have the size of the maps, to `out/images`.

    Raises:
        ValueError: unknown format, a folder that is not empty, ids without images, or a file without labels.
    """
    settings = FORMATS[name].Settings(format=name)
    _require_new(out)
    photographs = _photographs(file)
    if images and not photographs:
        raise ValueError(f"--images: {file} is no folder of a run, whose photographs are known")
    if images and getattr(settings, "images_alone", False):
        raise ValueError(f"--images: format {name} consists of images itself, and they would be taken for masks")
    with open_labels(label_file(file)) as store:
        chosen = None if ids is None else _chosen(ids, store)
        labels = Labels(store, chosen, photographs)
        if images:
            labels.images = _copies(labels, out / "images")
        return settings.load()(settings, labels, out)


def export_command(args: argparse.Namespace) -> int:
    """`export` of the command line, never among the run's photographs, where the masks would be read as such."""
    for folder in {image.parent for image in _photographs(args.file).values()}:
        refuse_inside(args.out, folder)
    return export(args.file, args.format, args.out, args.ids, images=args.images)


def _photographs(run: Path) -> dict[str, Path]:
    """Image id → image file of a run; empty for a single file."""
    folder = run / "prepare_data"
    return {record.image_id: record.image for record in Dataset(folder).records} if folder.is_dir() else {}


def _chosen(ids: Path, store: LabelStore) -> list[str]:
    """The ids of a CSV that are in the file; prints the missing ones, as the gallery marks images of both splits."""
    wanted = read_ids(ids)
    absent = [image_id for image_id in wanted if image_id not in store]
    if len(absent) == len(wanted):
        raise ValueError(f"{ids}: none of its {len(wanted)} images is in {store.path}, e.g. {absent[0]}")
    if absent:
        print(f"{len(absent)} of {len(wanted)} images are not in {store.path}, e.g. {absent[0]}", file=sys.stderr)
    return [image_id for image_id in wanted if image_id in store]


def _copies(labels: Labels, folder: Path) -> dict[str, Path]:
    """Image id → copy of its image file."""
    found: dict[str, Path] = {}
    for suffix in dict.fromkeys(labels.images[image_id].suffix for image_id in labels):
        same = [image_id for image_id in labels if labels.images[image_id].suffix == suffix]
        for image_id, copy in places(same, folder, suffix).items():
            write_atomically(copy, labels.images[image_id].read_bytes())
            found[image_id] = copy
    return found


def bring(source: Path, name: str, class_names: Sequence[str], out: Path, size_of: SizeOf = lambda _: None) -> int:
    """Converts another tool's annotations to palette PNGs in a new or empty folder; returns the number of images.

    class_names: background first, in the order of the run that will use the masks. size_of: size of an image.

    Raises:
        ValueError: a format that cannot be read, a folder that is not empty, or files that cannot be used.
    """
    _require_new(out)
    if source.is_dir():
        refuse_inside(out, source)
    found = read_annotations(source, name, class_names, size_of)
    return write_pngs(found, voc_palette(), out)


def _require_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: exists and is not empty; choose a new folder")
    require_folder(out)


def _bring(args: argparse.Namespace) -> int:
    """`bring` with the classes and, if a run is given, the image sizes of the command line."""
    if args.classes:
        return bring(args.source, args.format, ["background", *checked_classes("--classes", args.classes)], args.out)
    if not (args.run / "prepare_data").is_dir():
        raise ValueError(lacking(args.run, "no prepare_data there"))
    dataset = Dataset(args.run / "prepare_data")
    return bring(args.source, args.format, dataset.class_names, args.out, ByName(dataset).size)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="wsss labels", description=__doc__, formatter_class=Paragraphs)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("export", help="write label maps in another format")
    command.add_argument("file", type=a_path, help="folder of a run, e.g. results/voc, or an HDF5 file of labels")
    told = {name: module.Settings.__doc__.splitlines()[0] for name, module in FORMATS.modules.items()}
    formats = " ".join(f"{name}: {line}" for name, line in told.items())
    command.add_argument("--format", default="png", help=f"{formats} (default: png)")
    command.add_argument("--out", type=a_path, required=True, help="folder to write to")
    command.add_argument("--ids", type=a_path, help="CSV with a column image_id, as the gallery exports it: only these")
    command.add_argument("--images", action="store_true", help="also copy the images, in the size that the run used")
    command.set_defaults(work=export_command)
    command = commands.add_parser("import", help="masks from another tool's annotations, as palette PNGs")
    command.add_argument("source", type=a_path, help="folder or file of annotations")
    command.add_argument("--format", default="auto", help=f"{', '.join(readable_formats())}; auto: by the files")
    classes = command.add_mutually_exclusive_group(required=True)
    classes.add_argument("--run", type=a_path, help="results/{run}, whose classes are used")
    classes.add_argument("--classes", nargs="+", metavar="CLASS", help="the classes in the order of their ids from 1")
    command.add_argument("--out", type=a_path, required=True, help="folder to write to")
    command.set_defaults(work=_bring)
    args = parser.parse_args()
    with plain_ending("labels"):
        count = args.work(args)
        print(f"{count} images in {args.out}")


if __name__ == "__main__":
    main()
