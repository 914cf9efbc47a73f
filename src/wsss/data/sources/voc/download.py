"""VOC 2012 and the extra masks of SBD (Hariharan 2011), downloaded, checked and laid out as a VOCdevkit folder.

Addresses and checksums are those that torchvision publishes (torchvision.datasets.VOCSegmentation, SBDataset).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsss.data.download import Archive, extract, fetch
from wsss.data.palette import write_mask
from wsss.data.text import read_text
from wsss.runtime.files import write_atomically
from wsss.runtime.locks import alone_in
from wsss.runtime.progress import log

VOC = Archive(
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"
)
SBD = Archive(
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
)
COUNTS = {"train": 1464, "val": 1449, "test": 1456, "trainaug": 10582}
"""Number of images in the published lists; the test list is only in the test server's archive."""
_SBD_PARTS = ("/dataset/cls/", "/dataset/train.txt", "/dataset/val.txt")


@dataclass(frozen=True)
class Archives:
    """The archives, and the numbers of images in their lists."""

    voc: Archive = VOC
    sbd: Archive = SBD
    counts: Mapping[str, int] = field(default_factory=lambda: COUNTS)


def get_voc(root: Path, mirrors: Sequence[str], published: Archives | None = None) -> None:
    """Makes `root` a VOC 2012 folder with the list trainaug; existing files are kept.

    Archives stay in `downloads` beside root's folder, so that another attempt starts from them.

    Raises:
        ValueError, OSError: an archive cannot be downloaded or differs from the published one.
    """
    published = published or Archives()
    downloads = root.parent / "downloads"
    if (root / "ImageSets" / "Segmentation" / "trainaug.txt").is_file():
        check_counts(root, published.counts)
        return
    with alone_in(downloads):
        _download_and_build(root, downloads, mirrors, published)


def _download_and_build(root: Path, downloads: Path, mirrors: Sequence[str], published: Archives) -> None:
    if not (root / "JPEGImages").is_dir():
        _extract_voc(fetch(published.voc, downloads, mirrors), root, downloads)
    check_counts(root, published.counts)
    lists = root / "ImageSets" / "Segmentation"
    if not (lists / "trainaug.txt").is_file():
        sbd = downloads / "sbd"
        if not sbd.is_dir():
            archive = fetch(published.sbd, downloads, mirrors)
            log.info("unpacking %s", archive)
            extract(archive, sbd, lambda name: any(part in f"/{name}" for part in _SBD_PARTS))
        _build_trainaug(root, next(sbd.rglob("cls")).parent, published.counts["trainaug"])


def check_counts(root: Path, counts: Mapping[str, int]) -> None:
    """Compares the numbers of images in the existing lists with the published ones.

    Raises:
        ValueError: a number differs; names the list.
    """
    for name, count in counts.items():
        path = root / "ImageSets" / "Segmentation" / f"{name}.txt"
        if path.is_file() and (found := sum(1 for _ in read_text(path).lines())) != count:
            raise ValueError(f"{path}: {found} images, but VOC 2012's list '{name}' has {count}")


def _extract_voc(archive: Path, root: Path, downloads: Path) -> None:
    log.info("unpacking %s", archive)
    extract(archive, downloads / "voc")
    inside = downloads / "voc" / "VOCdevkit" / "VOC2012"
    if not (inside / "JPEGImages").is_dir():
        raise ValueError(f"{archive}: no folder VOCdevkit/VOC2012/JPEGImages in it")
    if root.is_dir() and not any(root.iterdir()):
        root.rmdir()
    inside.replace(root)


def _build_trainaug(root: Path, sbd: Path, count: int) -> None:
    """Converts SBD's masks to PNG, then writes the list trainaug = (VOC's train ∪ SBD) ∖ VOC's val."""
    lists = root / "ImageSets" / "Segmentation"
    own, val = (_lines(lists / f"{name}.txt") for name in ("train", "val"))
    extra = _lines(sbd / "train.txt") | _lines(sbd / "val.txt")
    trainaug = sorted((own | extra) - val)
    if len(trainaug) != count:
        raise ValueError(f"trainaug would have {len(trainaug)} images, published are {count}; {sbd} is incomplete")
    todo = [name for name in trainaug if not (root / "SegmentationClass" / f"{name}.png").is_file()]
    log.info("%d masks of SBD", len(todo))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: _convert(sbd / "cls" / f"{name}.mat", root), todo))
    write_atomically(lists / "trainaug.txt", "".join(f"{name}\n" for name in trainaug))


def _lines(path: Path) -> set[str]:
    if not path.is_file():
        raise ValueError(f"{path}: missing in the archive")
    return set(path.read_text(encoding="utf-8").split())


def _convert(mat: Path, root: Path) -> None:
    """Converts a MATLAB file of SBD to a palette PNG of class ids."""
    from scipy.io import loadmat

    try:
        label = loadmat(mat)["GTcls"]["Segmentation"][0, 0]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{mat}: not a mask of SBD ({error})") from None
    write_mask(root / "SegmentationClassAug" / f"{mat.stem}.png", np.asarray(label, np.uint8))
