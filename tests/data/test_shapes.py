"""The generated data set: every image stands alone, masks and labels agree, the scene keeps to its recipe."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss.data.palette import voc_palette
from wsss.data.sources.shapes import images as shapes
from wsss.data.sources.shapes.images import CLASS_NAMES, HABITAT_PROBABILITY, MAX_OCCLUSION, OBJECT_COUNTS, render
from wsss.data.sources.shapes.objects import HEAD_CENTRE, MARKERS, propose
from wsss.runtime.labels import IGNORE

TRAIN, VAL, SEED = 9, 4, 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shapes")
    shapes.write_shapes(root, train=TRAIN, val=VAL, rng_seed=SEED, workers=2)
    return root


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, list[shapes.Placed]]]:
    """What `_arrange` placed in each of 200 images, and the classes that were asked of it."""
    asked, original = [], shapes._arrange

    def spy(rng, kinds, height, width):
        arranged = original(rng, kinds, height, width)
        asked.append((kinds, arranged))
        return arranged

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "_arrange", spy)
        for index in range(200):
            render(SEED, index)
    return asked


def read(root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    image = np.asarray(Image.open(root / "JPEGImages" / f"{name}.jpg"))
    return image, np.asarray(Image.open(root / "SegmentationClass" / f"{name}.png"))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_lists_name_exactly_the_files_there(written: Path) -> None:
    lists = written / "ImageSets" / "Segmentation"
    train, val = lines(lists / "train.txt"), lines(lists / "val.txt")
    assert train == [f"shapes_{i:06d}" for i in range(TRAIN)]
    assert val == [f"shapes_{i:06d}" for i in range(TRAIN, TRAIN + VAL)]
    files = {str(p.relative_to(written)) for p in written.rglob("*") if p.is_file()}
    expected = {f"JPEGImages/{n}.jpg" for n in train + val}
    expected |= {f"SegmentationClass/{n}.png" for n in train + val}
    expected |= {"ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt"}
    assert files == expected | {"labels.csv", "classes.txt"}
    assert tuple(lines(written / "classes.txt")) == CLASS_NAMES


def test_any_image_alone_equals_the_one_in_the_set(written: Path) -> None:
    for index in (0, TRAIN - 1, TRAIN, TRAIN + VAL - 1):
        image, mask = read(written, f"shapes_{index:06d}")
        alone, alone_mask = render(SEED, index)
        np.testing.assert_array_equal(mask, alone_mask)
        # JPEG subsamples colour, so only brightness is kept pixel by pixel.
        luma, luma_alone = (np.asarray(Image.fromarray(i).convert("L"), float) for i in (image, alone))
        assert np.abs(luma - luma_alone).mean() < 3


def test_files_depend_neither_on_workers_nor_on_the_number_of_images(written: Path, tmp_path: Path) -> None:
    calls = []
    shapes.write_shapes(tmp_path, train=3, val=0, rng_seed=SEED, workers=1, progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    for path in [*tmp_path.glob("JPEGImages/*"), *tmp_path.glob("SegmentationClass/*")]:
        assert path.read_bytes() == (written / path.relative_to(tmp_path)).read_bytes()
    assert lines(tmp_path / "labels.csv") == lines(written / "labels.csv")[:4]


def test_seed_and_index_change_the_image() -> None:
    first, again, other_seed, other_index = (render(*key)[0] for key in ((0, 1), (0, 1), (1, 1), (0, 2)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other_seed)
    assert not np.array_equal(first, other_index)


def test_labels_are_the_classes_in_the_mask(written: Path) -> None:
    with (written / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == TRAIN + VAL
    for row in rows:
        ids = set(np.unique(read(written, row["image"])[1])) - {0, IGNORE}
        assert ids
        assert row["labels"].split() == [CLASS_NAMES[i - 1] for i in sorted(ids)]


def test_masks_carry_the_voc_palette(written: Path) -> None:
    with Image.open(written / "SegmentationClass" / "shapes_000000.png") as mask:
        assert mask.mode == "P"
        stored = np.frombuffer(bytes(mask.getpalette()), np.uint8).reshape(-1, 3)
    np.testing.assert_array_equal(stored, voc_palette())


def test_voc_palette_known_colours() -> None:
    palette = voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 5: (128, 0, 128), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {i: tuple(palette[i].tolist()) for i in known} == known
    assert tuple(palette[IGNORE].tolist()) == (224, 224, 192)
    assert len(np.unique(palette, axis=0)) == 256
    np.testing.assert_array_equal(voc_palette(6), palette[:6])
    with pytest.raises(ValueError, match="257"):
        voc_palette(257)


def test_void_exactly_where_the_neighbourhood_holds_two_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (4, 5)), np.ones((3, 4), int)).astype(np.uint8)
    mask = shapes._with_void(labels)
    for y, x in np.ndindex(*labels.shape):
        around = labels[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        assert mask[y, x] == (labels[y, x] if len(np.unique(around)) == 1 else IGNORE)


def test_sizes_dtypes_and_values() -> None:
    sizes = set()
    for index in range(30):
        image, mask = render(SEED, index)
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == (*mask.shape, 3)
        assert set(np.unique(mask)) <= {0, IGNORE, *range(1, len(CLASS_NAMES) + 1)}
        # Two classes never touch: void lies between them.
        for a, b in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            assert ((a == b) | (a == IGNORE) | (b == IGNORE)).all()
        sizes.add(mask.shape)
    assert sizes == set(shapes.SIZES)


def test_number_of_objects_and_classes_follow_the_recipe(scenes) -> None:
    assert all(len(kinds) == len(arranged) for kinds, arranged in scenes)
    counts = np.bincount([len(kinds) for kinds, _ in scenes], minlength=4)[1:] / len(scenes)
    np.testing.assert_allclose(counts, list(OBJECT_COUNTS.values()), atol=0.1)  # 3 standard errors
    kinds = np.bincount(np.concatenate([kinds for kinds, _ in scenes]), minlength=5)
    assert kinds.min() > 0.12 * kinds.sum()


def test_later_objects_cover_little_of_earlier_ones(scenes) -> None:
    worst = 0.0
    for _, arranged in scenes:
        owner = np.full((256, 256), -1)
        for i, placed in enumerate(arranged):
            owner[placed.window][placed.inside] = i
        for i, placed in enumerate(arranged):
            worst = max(worst, 1 - (owner == i).sum() / placed.inside.sum())
            assert placed.head_in_frame
    assert 0.1 < worst <= MAX_OCCLUSION


def test_background_is_the_first_objects_own_as_often_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    habitats, firsts = [], []
    monkeypatch.setattr(shapes, "draw_background", lambda rng, h, w, t: (habitats.append(t), np.zeros((h, w, 3)))[1])
    monkeypatch.setattr(shapes, "_arrange", lambda rng, kinds, h, w: firsts.append(kinds[0]) or [])
    for index in range(400):
        render(0, index)
    own = np.mean(np.array(habitats) == np.array(firsts))
    assert abs(own - HABITAT_PROBABILITY) < 0.08


def test_only_the_class_decides_the_marker() -> None:
    y, x = np.meshgrid(*2 * [np.linspace(-0.9, 0.9, 61)], indexing="ij")
    inked = np.stack([marker(x, y)[np.hypot(x, y) < 1] for marker in MARKERS])
    assert ((inked.mean(1) > 0.2) & (inked.mean(1) < 0.75)).all()
    for i, j in np.argwhere(~np.eye(len(MARKERS), dtype=bool)):
        assert 0.2 < (inked[i] != inked[j]).mean() < 0.8


def test_objects_do_not_outgrow_their_window() -> None:
    """Drawn on a canvas that is large enough, no outline touches the border of its window."""
    rng = np.random.default_rng(0)
    for kind in np.repeat(np.arange(len(CLASS_NAMES)), 20):
        placed = propose(rng, kind, 256, 256)
        (rows, columns), inside = placed.window, placed.inside
        assert rows.start == 0 or not inside[0].any()
        assert rows.stop == 256 or not inside[-1].any()
        assert columns.start == 0 or not inside[:, 0].any()
        assert columns.stop == 256 or not inside[:, -1].any()
        assert not placed.head[placed.u < HEAD_CENTRE - placed.head_radius - 1e-3].any()


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="-1 and 4"):
        shapes.write_shapes(tmp_path, train=-1, val=4, rng_seed=0, workers=1)
    with pytest.raises(ValueError, match=r"workers.*0"):
        shapes.write_shapes(tmp_path, train=1, val=0, rng_seed=0, workers=0)
    assert not list(tmp_path.iterdir())
