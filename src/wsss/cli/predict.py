"""Segmentation of new images by a run's trained model.

    wsss predict --run results/x photos/ --out masks/ --overlay

Images: folders (with their subfolders), files, patterns like 'photos/*.jpg', or .txt files that list paths. A mask is
a palette PNG of class ids at the image's size; `classes.csv` explains the ids, `images.csv` names each mask's image.
Images are shrunk as in training (prepare_data.max_edge) and their masks enlarged again; images larger than a tile are
cut into tiles. A file that cannot be read is skipped, listed in `failed.csv`, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from wsss.cli.earlier import images_of_masks
from wsss.cli.helping import Paragraphs
from wsss.cli.inputs import check_out, class_ids, find_images, network_of, require_device
from wsss.data.files import unread
from wsss.runtime.ending import plain_ending
from wsss.runtime.progress import log
from wsss.runtime.targets import a_path
from wsss.segmentation.tiling import MARGIN
from wsss.store.about import read_about


def _predict(args: argparse.Namespace, images: dict[Path, Path], made: dict[str, str]) -> list[tuple[Path, str]]:
    """Writes the masks and their table, which lists all until the end; returns unreadable images, with the reasons."""
    from wsss.cli import prediction
    from wsss.runtime.devices import resolve_device

    device = resolve_device(args.device)
    if args.run:
        predictor = prediction.load_predictor(args.run, device, args.tile)
    else:
        predictor = prediction.load_model(args.model, device, args.tile)
    predictor = prediction.adapted(predictor, fast=args.fast, classes=args.classes, crf=args.crf)
    rows = sorted(made.items())
    prediction.write_table(args.out, "images.csv", rows)
    failed = prediction.predict(
        predictor, images, args.out, batch=args.batch, overlay=args.overlay, softmax=args.softmax
    )
    prediction.write_table(args.out, "images.csv", [row for row in rows if (args.out / row[0]).is_file()])
    return failed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Paragraphs)
    parser.add_argument("images", nargs="+", help="folders, files, patterns, or .txt lists of paths")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=a_path, help="results/{run}")
    source.add_argument(
        "--model",
        type=a_path,
        help="model.safetensors; one of results/{run}/model is applied as in its run",
    )
    parser.add_argument("--out", type=a_path, required=True, help="folder for the masks")
    parser.add_argument("--overlay", action="store_true", help="also write NAME.overlay.jpg")
    parser.add_argument("--softmax", action="store_true", help="also write NAME.npz: softmax (C, H, W) float16")
    parser.add_argument("--fast", action="store_true", help="one scale and no mirror: several times faster")
    parser.add_argument("--classes", nargs="+", default=[], metavar="CLASS", help="only these, and background")
    parser.add_argument("--crf", action="store_true", help="refine the outlines by DenseCRF, as the run sets it")
    parser.add_argument("--batch", type=int, default=4, help="images of one size at once (default: 4)")
    parser.add_argument("--tile", type=int, default=1024, help="pixels; larger images are cut (default: 1024)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    args = parser.parse_args()
    logging.basicConfig(format="[predict] %(message)s")
    log.setLevel(logging.INFO)
    with plain_ending("predict"):
        if args.batch < 1 or args.tile <= 2 * MARGIN:
            raise ValueError(f"--batch {args.batch} --tile {args.tile}; accepted: at least 1, and over {2 * MARGIN}")
        require_device(args.device)
        images = find_images(args.images)
        for line in filter(None, (unread(Path(source)) for source in args.images if Path(source).is_dir())):
            log.warning("%s", line)
        check_out(args.out, images, args.images, overlay=args.overlay, softmax=args.softmax)
        about = read_about(args.model or network_of(args.run)[0])
        class_ids(about["classes"], args.classes)
        made = images_of_masks(args.out, images, about["classes"])
        failed = _predict(args, images, made)
    log.info("%d masks in %s", len(images) - len(failed), args.out)
    if failed:
        sys.exit(f"[predict] {len(failed)} of {len(images)} images could not be read: {args.out / 'failed.csv'}")


if __name__ == "__main__":
    main()
