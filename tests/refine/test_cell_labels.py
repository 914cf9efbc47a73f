"""The cell classifier, from stored features and maps to probabilities, as the stages run it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wsss.config.loading import load_run
from wsss.config.registry import REFINEMENTS
from wsss.data.dataset import Record
from wsss.plan.run import plan_runs
from wsss.refine.base import Models
from wsss.refine.cell_labels.refine import CellLabels
from wsss.refine.training import train_affinity
from wsss.store.features import DIGEST, FeatureFiles, FeatureWriter
from wsss.store.maps import ScoreMap, open_scores
from wsss.store.writers import ScoreWriter
from wsss.training.session import Place

CPU = torch.device("cpu")
COMPONENT = REFINEMENTS["cell_labels"]
GRID, NAMES = (4, 6), ["background", "a", "b"]
WHERE = {"method": "cell_labels", "stages": ["final"], "scale": 1.0}
SPREAD = WHERE | {"neighbours": 8, "distance": 0}


class Data:
    """Twelve images of one class each, in their left half; a feature channel a class, background included."""

    class_names = NAMES

    def __init__(self, root):
        rng = np.random.default_rng(0)
        self.records = [
            Record(f"i{n}", root, None, np.eye(2, dtype=np.float32)[n % 2], "train", False, (64, 96)) for n in range(12)
        ]
        (root / "features").mkdir()
        with FeatureWriter(root / "features" / "train.h5", [1.0], ["final"]) as out:
            for n, record in enumerate(self.records):
                found = rng.normal(0, 0.1, (1, 3, *GRID))
                found[0, 1 + n % 2, :, :3] += 1
                found[0, 0, :, 3:] += 1
                out.add(record.image_id, bytes(DIGEST), [found])

    def split(self, _name):
        return self.records


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("cells")
    data = Data(root)
    labels = COMPONENT.Labels(**SPREAD)
    make, store = labels.load()(labels, CPU), FeatureFiles(root / "features").open("train")
    with ScoreWriter(root / "labels.h5", class_names=NAMES) as out:
        for record in data.records:
            seed = np.zeros((1, *record.size), np.float32)
            seed[0, :, :40] = 1
            out.add(record.image_id, *make.of_stored(store, record, ScoreMap(record.classes, seed)))
    return root, data, store


def trained(made, out, **changes):
    root, data, _ = made
    place = Place(out, CPU, 0, 60.0, "x")
    out.mkdir()
    settings = COMPONENT.Training(**WHERE, steps=100, **changes)
    train_affinity(settings, data, None, root / "labels.h5", place, FeatureFiles(root / "features"))
    return out / "model.safetensors"


def test_maps_lie_on_the_cells_and_end_below_one(made):
    with open_scores(made[0] / "labels.h5", NAMES) as maps:
        assert maps["i1"].classes.tolist() == [0, 2]
        assert maps["i1"].scores.shape == (2, *GRID)
        assert maps["i1"].scores[1, :, :2].min() > 0.5 > maps["i1"].scores[1, :, 4:].max()


def test_shares_sum_to_one_and_find_the_object(made, tmp_path):
    _, data, store = made
    refine = CellLabels(COMPONENT.Settings(**SPREAD), Models(tmp_path, trained(made, tmp_path / "t")), CPU)
    for record in data.records[:2]:
        shares = refine.of_stored(store, record, torch.zeros(1, *record.size))
        assert shares.shape == (2, *record.size)
        torch.testing.assert_close(shares.sum(0), torch.ones(record.size))
        right = shares.argmax(0)
        assert right[:, :40].float().mean() > 0.95 and right[:, 56:].float().mean() < 0.05


def test_an_image_without_labels_is_background(made, tmp_path):
    _, data, store = made
    refine = CellLabels(COMPONENT.Settings(**SPREAD), Models(tmp_path, trained(made, tmp_path / "t")), CPU)
    record = replace(data.records[0], labels=np.zeros(2, np.float32))
    shares = refine.of_stored(store, record, torch.zeros(0, *record.size))
    torch.testing.assert_close(shares, torch.ones(1, *record.size))


def test_the_same_seed_makes_the_same_file(made, tmp_path):
    files = [trained(made, tmp_path / name, cells=10, **more) for name, more in (("a", {}), ("b", {}))]
    other = trained(made, tmp_path / "c", cells=10, rng_seed=1)
    assert files[0].read_bytes() == files[1].read_bytes() != other.read_bytes()


def test_an_image_is_read_once_for_all_its_stages(made):
    store = FeatureFiles(made[0] / "features").open("train")
    first = store["i0"]
    assert store["i0"] is first
    np.testing.assert_array_equal(store["i1"].maps[0], made[2].stage("i1", 1.0, "final"))
    assert store["i0"] is not first


def test_labels_and_training_on_other_cells_are_refused(made, tmp_path):
    _, data, store = made
    with ScoreWriter(tmp_path / "other.h5", class_names=NAMES) as out:
        for record in data.records:
            out.add(record.image_id, [0], np.ones((1, 2, 3)))
    training = COMPONENT.Training(**WHERE)
    with pytest.raises(ValueError, match="must be the same"):
        training.load()(training).fit(store, tmp_path / "other.h5", data.records, NAMES, CPU)


def test_the_preset_trains_it_on_stored_features():
    run = {"preset": "frozen", "prepare_data": {"dataset": "shapes"}}
    plan = plan_runs({"runs": {"r": run}})["r"]
    steps = {step.stage: step for step in plan.steps}
    for stage in ("make_affinity_labels", "train_affinity", "refine_cam"):
        assert steps[stage].upstream["features"] is steps["compute_features"]
    assert "classifier" not in steps["train_affinity"].upstream
    run |= {"make_affinity_labels": None, "compute_features": {"stages": [-2, -1, "final"], "scales": [1.125, 1.5]}}
    assert load_run("r", {"r": run}).make_affinity_labels.method == "cell_labels"
