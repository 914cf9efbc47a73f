"""Label maps for other tools and from them.

wsss labels export results/photos/make_pseudo_labels/train.h5 --format labelme --out DIR
wsss labels import DIR --format labelme --run results/photos --out masks
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from wsss.config.registry import FORMATS
from wsss.data.formats.png.write import write_masks
from wsss.data.palette import voc_palette
from wsss.runtime.ending import plain_ending
from wsss.store.maps import open_labels


def export(file: Path, name: str, out: Path) -> int:
    """Writes the label maps of an HDF5 file in a format to a folder that is new or empty; how many images.

    Raises:
        ValueError: an unknown format, a folder that holds files, or a file that holds no labels.
    """
    settings = FORMATS[name].Settings(format=name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: exists and is not empty; choose a new folder")
    with open_labels(file) as store:
        return settings.load()(settings, store, out)


def bring(source: Path, name: str, class_names: Sequence[str], out: Path) -> int:
    """Writes what another tool made as palette PNGs to a folder that is new or empty; how many images.

    class_names: with background at 0, in the order of the run that is to take the masks.

    Raises:
        ValueError: a format that is only written, a folder that holds files, or files that cannot be used.
    """
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    settings = FORMATS[name].Settings(format=name)
    if not hasattr(settings, "reader"):
        readable = ", ".join(key for key, module in FORMATS.modules.items() if hasattr(module.Settings, "reader"))
        raise ValueError(f"--format {name}: is only written; read are {readable}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: exists and is not empty; choose a new folder")
    module, _, function = settings.reader.partition(":")
    found = dict(getattr(import_module(module), function)(settings, source, class_names))
    if not found:
        raise ValueError(f"{source}: no annotated image of format {name} in it")
    return write_masks(found, voc_palette(), out)


def _classes(args: argparse.Namespace) -> list[str]:
    """Background and the classes, as named or as in the run."""
    if args.classes:
        return ["background", *args.classes]
    with open_labels(args.run / "make_pseudo_labels" / "train.h5") as store:
        return list(store.class_names)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="wsss labels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("export", help="write label maps in another format")
    command.add_argument("file", type=Path, help="HDF5 file of labels, e.g. results/voc/make_pseudo_labels/train.h5")
    formats = "; ".join(f"{name}: {m.Settings.__doc__.splitlines()[0]}" for name, m in FORMATS.modules.items())
    command.add_argument("--format", default="png", help=formats)
    command.add_argument("--out", type=Path, required=True, help="folder to write to")
    command.set_defaults(work=lambda args: export(args.file, args.format, args.out))
    command = commands.add_parser("import", help="masks from another tool's annotations, as palette PNGs")
    command.add_argument("source", type=Path, help="folder or file of annotations")
    command.add_argument("--format", default="png", help="what it is: png, coco, labelme or cvat")
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
