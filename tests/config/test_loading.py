"""Configuration: mistakes give one line that names the key, what was found and what is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsss.config.loading import WORKFLOW, ConfigError, load_run, load_section, merge
from wsss.config.sections import CRF, Backbone
from wsss.config.stages import SHARDED

SHAPES = {"prepare_data": {"dataset": "shapes"}}


def message(**sections) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run("r", {"r": SHAPES | sections})
    return str(caught.value)


def test_small_numbers_of_options_reach_a_stage_as_numbers():
    section = Backbone(name="x", options={"sigma_eps": 1.0e-5})
    for text in (json.dumps(section.model_dump(mode="json")), section.model_dump_json()):
        assert load_section(Backbone, text) == section


@pytest.mark.parametrize(
    ("sections", "path", "nearest"),
    [
        ({"trian_classifier": {}}, "runs.r.trian_classifier", "train_classifier"),
        ({"segment": {"crf": {"step": 3}}}, "runs.r.segment.crf.step", "steps"),
        ({"prepare_data": {"dataset": "shapes", "tran": 3}}, "runs.r.prepare_data.tran", "train"),
        (
            {"train_classifier": {"method": {"name": "cam", "poling": "max"}}},
            "runs.r.train_classifier.method.poling",
            "pooling",
        ),
    ],
)
def test_unknown_key_names_its_path_and_the_nearest_key(sections, path, nearest):
    text = message(**sections)
    assert text.startswith(f"{path}: unknown key; did you mean '{nearest}'?")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"infer_cam": {"scales": []}}, "runs.r.infer_cam.scales: list should have at least 1 item"),
        ({"train_classifier": {"training": {"epochs": -1}}}, "runs.r.train_classifier.training.epochs: input"),
        (
            {"infer_cam": {"fusion": "mean"}},
            "runs.r.infer_cam.fusion: input should be 'max', 'psa', 'minmax',",
        ),
        ({"prepare_data": {"dataset": "voc2"}}, "runs.r.prepare_data: input tag 'voc2'"),
    ],
)
def test_wrong_value_is_quoted_with_what_is_accepted(sections, expected):
    text = message(**sections)
    assert text.startswith(expected) and "found" in text


def test_unknown_run_and_preset_suggest_the_nearest():
    with pytest.raises(ConfigError, match=r"no run 'shape' .*did you mean 'shapes'"):
        load_run("shape", {"shapes": SHAPES})
    with pytest.raises(ConfigError, match=r"runs\.r\.preset: no preset 'shaps'; did you mean 'shapes'"):
        load_run("r", {"r": {"preset": "shaps"}})


@pytest.mark.parametrize(
    ("data", "row", "told"),
    [
        ("vocc", "cam-train", r"'vocc' is none of .*did you mean 'voc'"),
        ("voc", "pseudo_lable-train", r"'pseudo_lable-train' is none of .*did you mean 'pseudo_label-train'"),
    ],
)
def test_a_published_number_belongs_to_a_row_that_can_be(data, row, told):
    numbers = {data: {row: {"miou": 60, "source": "a paper"}}}
    with pytest.raises(ConfigError, match=rf"runs\.r\.published: {told}"):
        load_run("r", {"r": {"preset": "shapes", "published": numbers}})


def test_every_preset_combination_of_the_config_is_valid():
    import yaml

    runs = yaml.safe_load(Path("config.yaml").read_text())["runs"]
    assert {name: load_run(name, runs) for name in runs}.keys() >= {"shapes", "voc"}


def test_later_layers_win_and_null_removes_a_stage():
    run = load_run("r", {"r": {"preset": "shapes", "refine_cam": None, "segment": {"flip": False}}})
    assert run.refine_cam is None
    assert run.segment.flip is False and run.segment.scales == [1.0, 0.75, 1.25]


def test_merge_leaves_its_arguments_alone():
    base = {"a": {"b": 1}}
    assert merge(base, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}


def test_section_from_text_or_file(tmp_path):
    file = tmp_path / "crf.yaml"
    file.write_text("steps: 7\n")
    assert load_section(CRF, str(file)) == load_section(CRF, '{"steps": 7}')
    with pytest.raises(ConfigError, match=r"--config\.stepz: unknown key"):
        load_section(CRF, '{"stepz": 7}')


def test_a_preset_may_stand_on_others(tmp_path):
    (tmp_path / "low.yaml").write_text("prepare_data: {dataset: shapes, train: 5, val: 3}\nsegment: {scales: [1, 2]}\n")
    (tmp_path / "high.yaml").write_text("preset: low\nprepare_data: {train: 7}\n")
    run = load_run("r", {"r": {"preset": "high", "segment": {"flip": False}}}, tmp_path)
    assert (run.prepare_data.train, run.prepare_data.val) == (7, 3)
    assert run.segment.scales == [1, 2] and not run.segment.flip


def test_the_registry_names_the_stages_whose_rules_write_shards():
    rules = WORKFLOW / "rules"
    assert set(SHARDED) == {path.stem for path in rules.glob("*.smk") if "temp(ROOT" in path.read_text()}


@pytest.mark.parametrize(
    "data",
    [
        {"dataset": "folder", "images": "~/p", "labels": "~/p.csv", "masks": "~/m"},
        {"dataset": "voc", "root": "~/VOC2012", "labels": "~/p.csv"},
        {"dataset": "coco", "root": "~/coco", "val_list": "~/val.txt"},
    ],
    ids=lambda data: data["dataset"],
)
def test_paths_may_begin_at_the_home_folder(data, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    network = {"name": "resnet18", "checkpoint": "~/w.pth"}
    given = {"prepare_data": data, "train_classifier": {"backbone": network}, "corrections": "~/c"}
    run = load_run("r", {"r": {"train_segmentation": None, **given}})
    found = run.prepare_data.model_dump(mode="json")
    assert {key: found[key] for key in data} == {key: value.replace("~", "/home/ann") for key, value in data.items()}
    assert str(run.train_classifier.backbone.checkpoint) == "/home/ann/w.pth"
    assert run.corrections.masks.path == Path("/home/ann/c")
