"""Label maps for other tools and from them.

wsss labels export results/photos --format labelme --out DIR
wsss labels import DIR --format labelme --run results/photos --out masks
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from wsss.config.registry import FORMATS
from wsss.data.formats.png.write import write_masks
from wsss.data.formats.reading import read_annotations
from wsss.data.palette import voc_palette
from wsss.runtime.ending import plain_ending
from wsss.store.maps import open_labels

LABELS = ("corrections", "make_pseudo_labels")
"""Steps of a run whose `train.h5` holds the labels that its model learns from, the last one first."""


def label_file(run: Path) -> Path:
    """The file of the labels that a run's model learns from; any other file is itself."""
    if not run.is_dir():
        return run
    files = [run / label / "train.h5" for label in LABELS]
    return next((file for file in files if file.is_file()), files[-1])


def export(file: Path, name: str, out: Path) -> int:
    """Writes label maps in a format to a folder that is new or empty; how many images.

    file: HDF5 file of labels, or the folder of a run.

    Raises:
        ValueError: an unknown format, a folder that holds files, or a file that holds no labels.
    """
    settings = FORMATS[name].Settings(format=name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: exists and is not empty; choose a new folder")
    with open_labels(label_file(file)) as store:
        return settings.load()(settings, store, out)


def bring(source: Path, name: str, class_names: Sequence[str], out: Path) -> int:
    """Writes what another tool made as palette PNGs to a folder that is new or empty; how many images.

    class_names: with background at 0, in the order of the run that is to take the masks.

    Raises:
        ValueError: a format that is only written, a folder that holds files, or files that cannot be used.
    """
    found = read_annotations(source, name, class_names)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: exists and is not empty; choose a new folder")
    return write_masks(found, voc_palette(), out)


def _classes(args: argparse.Namespace) -> list[str]:
    """Background and the classes, as named or as in the run."""
    if args.classes:
        return ["background", *args.classes]
    with open_labels(label_file(args.run)) as store:
        return list(store.class_names)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="wsss labels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("export", help="write label maps in another format")
    command.add_argument("file", type=Path, help="folder of a run, e.g. results/voc, or an HDF5 file of labels")
    formats = "; ".join(f"{name}: {m.Settings.__doc__.splitlines()[0]}" for name, m in FORMATS.modules.items())
    command.add_argument("--format", default="png", help=formats)
    command.add_argument("--out", type=Path, required=True, help="folder to write to")
    command.set_defaults(work=lambda args: export(args.file, args.format, args.out))
    command = commands.add_parser("import", help="masks from another tool's annotations, as palette PNGs")
    command.add_argument("source", type=Path, help="folder or file of annotations")
    command.add_argument("--format", default="auto", help="what it is: png, coco, labelme or cvat; auto: by the files")
    classes = command.add_mutually_exclusive_group(required=True)
    classes.add_argument("--run", type=Path, help="results/{run}, whose classes are meant")
    classes.add_argument("--classes", nargs="+", metavar="CLASS", help="the classes in the order of their ids from 1")
    command.add_argument("--out", type=Path, required=True, help="folder to write to")
    command.set_defaults(work=lambda args: bring(args.source, args.format, _classes(args), args.out))
    args = parser.parse_args()
    with plain_ending("labels"):
        count = args.work(args)
        print(f"{count} images in {args.out}")


if __name__ == "__main__":
    main()
