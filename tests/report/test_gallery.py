"""What a report is made of, without a browser: the choice of images, their maps, numbers and words."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from synthetic import CLASSES, HOSTILE_RUN, make_run
from tiny import ROOT
from wsss.config.stages import SECTIONS
from wsss.data.dataset import Dataset, read_mask
from wsss.plan.run import plan_runs
from wsss.report import gallery as gallery_module
from wsss.report.charts import heatmap, line_chart, ticks
from wsss.report.comparison import setting_differences
from wsss.report.content import gallery_views, report_page
from wsss.report.gallery import Item, build_gallery, choose, image_iou, uncertainty
from wsss.report.run import RunResults, StepResults
from wsss.runtime.labels import IGNORE
from wsss.stages.report import report


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunResults:
    return RunResults(make_run(tmp_path_factory.mktemp("results"), HOSTILE_RUN, train=10, val=4))


@pytest.fixture(scope="module")
def gallery(run):
    return build_gallery(run.dataset, gallery_views(run))


def item(i: int, iou: float, size: int = 1000) -> Item:
    return Item(str(i), "train", [1], iou=iou, payload={"image": "x" * size, "labels": {}, "scores": {}})


def test_label_maps_arrive_exactly(run, gallery):
    for entry in gallery.items:
        record = next(r for r in run.dataset.records if r.image_id == entry.image_id)
        shape = entry.payload["height"], entry.payload["width"]
        sent = zlib.decompress(base64.b64decode(entry.payload["labels"]["truth"]))
        assert (np.frombuffer(sent, np.uint8).reshape(shape) == read_mask(record.mask)).all()


def test_images_come_worst_first(gallery):
    ious = [entry.iou for entry in gallery.items]
    assert len(ious) == 14 and ious == sorted(ious)


def test_each_image_says_how_far_its_maps_agree_and_which_label_is_not_found(run, gallery):
    for entry in gallery.items:
        assert entry.agreement is None or 0 <= entry.agreement <= 1
        assert set(entry.missing) <= set(entry.classes)
    assert any(entry.agreement is not None for entry in gallery.items)


def test_small_data_sets_are_there_whole_and_smaller_where_there_are_many(run, monkeypatch):
    records = run.dataset.records
    monkeypatch.setattr(Dataset, "records", [replace(r, measured=r.split == "val") for r in records])
    monkeypatch.setattr(gallery_module, "EDGES", {3: 64, 100: 16})
    shown = build_gallery(Dataset(run.dataset.folder), gallery_views(run))
    assert len(shown.items) == len(records) == shown.total and shown.edge == 16


def test_too_many_images_leave_the_worst_and_an_even_sample():
    items = [item(i, i / 400) for i in range(400)]
    chosen = choose(items, budget=100 * items[0].bytes)
    numbers = [int(entry.image_id) for entry in chosen]
    assert 90 <= len(chosen) <= 100 and numbers == sorted(numbers)
    assert numbers[:50] == list(range(50)) and numbers[-1] == 399
    assert max(np.diff(numbers)) < 12


def test_image_iou_leaves_out_ignored_pixels():
    truth = np.array([[0, 1, 1, IGNORE]], np.uint8)
    assert image_iou(truth, np.array([[0, 1, 1, 1]], np.uint8), 3) == 1
    assert image_iou(truth, np.array([[0, 1, 2, 2]], np.uint8), 3) == pytest.approx((1 + 0.5 + 0) / 3)


def test_uncertainty_is_0_for_sure_and_1_for_tied_scores():
    sure = np.stack([np.ones((4, 4)), np.zeros((4, 4))])
    assert uncertainty(sure) == 0 and uncertainty(np.full((3, 4, 4), 0.4)) == 1


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 63.2), (-3, 7), (0, 0.004), (5, 5)])
def test_ticks_are_round_and_cover_the_range(low, high):
    found = ticks(low, high)
    assert found[0] <= low and found[-1] >= high and 1 <= len(found) <= 8
    assert len({round(step, 9) for step in np.diff(found)}) <= 1


def test_long_series_are_thinned_and_keep_their_mean():
    x = np.arange(100_000)
    chart = line_chart("t", "x", "y", {"a": (x, np.full(100_000, 2.0))})
    assert chart.lines[0].path.count("L") < 300
    heights = {point.split(" ")[1] for point in chart.lines[0].path[1:].split("L")}
    assert len(heights) == 1


def test_confusion_shares_are_of_the_true_class():
    chart = heatmap("k", "t", np.array([[90, 10, 0], [30, 60, 10]]), ["a", "b"])
    assert chart.columns == ["a", "b", "ignored"]
    assert [(c.row, c.column, c.share) for c in chart.worst] == [(1, 0, 0.3), (0, 1, 0.1), (1, 2, 0.1)]


def test_page_asks_for_nothing_and_ends_no_script_early(run):
    page = report_page(run)
    assert "http://" not in page and "https://" not in page and "src=" not in page.split("<script>")[0]
    assert page.count("<script>") == 1 and page.count("</script>") == page.count("<script")
    assert "61.0 published" in page and "&lt;b&gt;Some paper&lt;/b&gt;" in page


def test_figures_and_page_appear_in_the_folder(run):
    report(run.folder, threads=1)
    for name in ("stages", "threshold", "qualitative"):
        assert (run.folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (run.folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert (run.folder / "report.html").stat().st_size > 50_000


def test_a_run_without_masks_has_a_page_too(tmp_path):
    folder = make_run(tmp_path, "no masks", train=6, val=2)
    run = RunResults(folder)
    index = run.dataset.folder / "index.csv"
    table = pd.read_csv(index)
    table["mask"], table["measured"] = "", 0
    table.to_csv(index, index=False)
    empty = pd.read_csv(folder / "miou.csv").iloc[:0]
    empty.to_csv(folder / "miou.csv", index=False)
    curves = run.evaluation.folder / "curve.csv"
    pd.read_csv(curves).iloc[:0].to_csv(curves, index=False)
    np.savez(run.evaluation.folder / "confusion.npz")
    report(folder, threads=1)
    assert "no masks to measure with" in (folder / "report.html").read_text()
    assert not (folder / "figures" / "stages.png").exists()


def test_an_unfinished_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no run\.json there, as it is no folder of a run"):
        RunResults(tmp_path)


@pytest.mark.parametrize("preset", ["shapes", "irn", "propagation", "clip-es"])
def test_every_step_of_a_run_has_words(preset):
    config = {"runs": {"r": {"preset": [preset, "shapes"] if preset != "shapes" else preset}}}
    run = plan_runs(config, ROOT / "workflow" / "presets")["r"]
    for step in run.steps:
        words = TypeAdapter(SECTIONS[step.stage]).validate_python(step.config).words()
        assert words or step.stage == "quality", step.stage
        assert "\n" not in words and "=" not in words  # a sentence, not a model printed


def test_settings_of_another_version_have_no_words(tmp_path):
    (tmp_path / "config.yaml").write_text("{new: 3}")
    assert StepResults("infer_cam", "infer_cam", tmp_path, {}).words == ""


def test_comparison_names_what_differs(tmp_path):
    runs = [RunResults(make_run(tmp_path, name, train=2, val=2, seed=i)) for i, name in enumerate("ab")]
    assert setting_differences(runs) == []
    path = Path(runs[1].steps["infer_cam"].folder) / "config.yaml"
    path.write_text(json.dumps({"scales": [1.0], "flip": True, "fusion": "max"}))
    runs[1] = RunResults(runs[1].folder)
    assert setting_differences(runs) == [("infer_cam.scales", ["[1.0, 0.5]", "[1.0]"])]
    assert CLASSES[1] in runs[0].dataset.class_names
