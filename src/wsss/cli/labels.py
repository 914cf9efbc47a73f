"""Pseudo-labels and predictions for other tools: `wsss labels export FILE --format png --out DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss.config.registry import FORMATS
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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="wsss labels", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("export", help="write label maps in another format")
    command.add_argument("file", type=Path, help="HDF5 file of labels, e.g. results/voc/make_pseudo_labels/train.h5")
    formats = "; ".join(f"{name}: {m.Settings.__doc__.splitlines()[0]}" for name, m in FORMATS.modules.items())
    command.add_argument("--format", default="png", help=formats)
    command.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    with plain_ending("labels"):
        count = export(args.file, args.format, args.out)
        print(f"{count} images in {args.out}")


if __name__ == "__main__":
    main()
