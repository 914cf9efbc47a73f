"""Plans: equal work has equal keys, and a change reaches only what follows it."""

from __future__ import annotations

import pytest

from wsss.config.loading import ConfigError, load_run, merge
from wsss.config.stages import ChooseThreshold
from wsss.plan.forecast import predicted_seconds
from wsss.plan.run import missing_inputs, plan_runs


def plan(**changes):
    return plan_runs({"runs": {"r": {"preset": "shapes"} | changes}})["r"]


def keys(p) -> dict[str, str]:
    return {step.label: step.key for step in p.steps}


def changed(a, b) -> set[str]:
    return {label for label in keys(a) if keys(a)[label] != keys(b).get(label)}


def test_segmentation_learning_rate_changes_only_what_follows():
    other = plan(train_segmentation={"training": {"optimizer": {"lr": 1e-3}}})
    assert changed(plan(), other) == {
        "train_segmentation",
        "train_segmentation-upper_bound",
        "segment",
        "segment-upper_bound",
        "evaluate",
    }


def test_seed_changes_everything_that_depends_on_it():
    assert changed(plan(), plan(rng_seed=1)) == set(keys(plan()))


def test_two_runs_share_what_they_have_in_common():
    plans = plan_runs({"runs": {"a": {"preset": "shapes"}, "b": {"preset": "shapes", "refine_cam": {"beta": 4}}}})
    a, b = keys(plans["a"]), keys(plans["b"])
    assert a["train_affinity"] == b["train_affinity"] and a["refine_cam"] != b["refine_cam"]


def test_stages_set_to_null_are_absent():
    labels = set(keys(plan(train_affinity=None, refine_cam=None, train_segmentation=None)))
    assert not labels & {"make_affinity_labels", "train_affinity", "refine_cam", "train_segmentation", "segment"}


def test_a_number_is_a_fixed_threshold():
    step = next(step for step in plan(choose_threshold=0.3).steps if step.stage == "choose_threshold")
    assert step.config == {"policy": "fixed", "value": 0.3}


def test_rows_of_the_table_follow_the_stages():
    rows = [(row["stage"], row["split"]) for row in plan().steps[-1].config["rows"]]
    assert rows == [
        ("cam", "train"),
        ("cam", "val"),
        ("cam_crf", "train"),
        ("refined", "train"),
        ("pseudo_label", "train"),
        ("segmentation", "val"),
        ("segmentation_crf", "val"),
        ("upper_bound", "val"),
        ("upper_bound_crf", "val"),
    ]


def test_nothing_is_computed_only_to_be_measured_where_there_are_no_masks(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,cat\n")
    folder = {"dataset": "folder", "images": str(tmp_path / "photos"), "labels": str(tmp_path / "labels.csv")}
    common = {"choose_threshold": "auto"}
    without = plan(prepare_data=folder, **common)
    assert [row["stage"] for row in without.steps[-1].config["rows"]].count("cam_crf") == 0
    assert [step.label for step in without.steps if step.stage == "make_pseudo_labels"] == ["make_pseudo_labels"]
    with_masks = plan(prepare_data=folder | {"masks": str(tmp_path)}, **common)
    assert "make_pseudo_labels-cam_crf" in keys(with_masks)


@pytest.mark.parametrize("config", [{"run": {}}, {"runs": None}, {"runs": {"a b": {}}}, {"runs": {"stages": {}}}])
def test_a_configuration_is_runs_with_plain_names(config):
    with pytest.raises(ConfigError, match=r"^runs?[.:]"):
        plan_runs(config)


def test_missing_data_is_named_with_where_to_get_it(tmp_path):
    voc = {"prepare_data": {"dataset": "voc", "root": str(tmp_path / "VOC2012")}}
    line = missing_inputs(plan_runs({"runs": {"voc": voc}})["voc"])
    assert line.startswith("runs.voc.prepare_data.root: no JPEGImages folder") and "http" in line
    assert missing_inputs(plan()) is None


def test_irnet_takes_the_place_of_affinitynet():
    p = plan(preset=["shapes", "shapes-irnet"])
    steps = {step.label: step.config for step in p.steps}
    assert {steps[s]["method"] for s in ("make_affinity_labels", "train_affinity", "refine_cam")} == {"irnet"}
    assert "channels" not in steps["train_affinity"] and "low_alpha" not in steps["make_affinity_labels"]
    assert keys(p)["infer_cam"] == keys(plan())["infer_cam"]


def test_the_walk_must_fit_the_affinities():
    with pytest.raises(ConfigError, match=r"refine_cam\.method affinitynet; make them the same$"):
        plan(train_affinity={"method": "irnet"})


@pytest.mark.parametrize("run", [{"preset": "frozen", "prepare_data": {"dataset": "shapes"}}, {"preset": "shapes"}])
def test_a_choice_by_masks_reaches_the_pseudo_labels_of_refined_maps(run):
    def steps(chosen) -> dict:
        return {step.label: step for step in plan(**run, choose_threshold=chosen).steps}

    masks, auto, number = (
        steps({"refined": True} | chosen)
        for chosen in ({"policy": "masks"}, {"policy": "auto"}, {"policy": "fixed", "value": 0.3})
    )
    assert masks["make_pseudo_labels"].upstream["threshold"] is masks["choose_threshold-refined"]
    assert masks["choose_threshold-refined"].upstream["scores"] is masks["refine_cam"]
    assert "threshold" not in auto["make_pseudo_labels"].upstream  # auto leaves refined maps as they are
    for label in ("make_pseudo_labels", "train_segmentation", "segment"):
        assert len({own[label].key for own in (masks, auto, number)}) == 3
    assert masks["refine_cam"].key == auto["refine_cam"].key
    plain = {step.label: step for step in plan(**run, choose_threshold={"policy": "oracle", "refined": False}).steps}
    assert "threshold" not in plain["make_pseudo_labels"].upstream  # a paper's choice is for its activation maps


def test_auto_weights_the_background_of_propagated_maps():
    chosen = {"policy": "auto", "refined": True}
    auto = plan(preset=["shapes", "propagation"], choose_threshold=chosen).steps
    steps = {step.label: step for step in auto}
    assert steps["make_pseudo_labels"].upstream["threshold"] is steps["choose_threshold-refined"]


@pytest.mark.parametrize("preset", ["photos", "frozen"])
def test_a_policy_or_a_number_keeps_what_the_preset_says_of_refined_maps(preset):
    def chosen(given) -> ChooseThreshold:
        data = {"dataset": "folder", "images": "photos", "labels": "labels.csv"}
        runs = {"r": {"preset": preset, "prepare_data": data, "choose_threshold": given}}
        return load_run("r", runs).choose_threshold

    assert chosen("auto") == ChooseThreshold(policy="auto", refined=True)
    assert chosen(0.3) == ChooseThreshold(policy="fixed", value=0.3, refined=True)
    assert chosen({"policy": "oracle"}) == ChooseThreshold(policy="oracle", refined=True)
    assert merge({"policy": "fixed", "value": 0.3}, {"policy": "auto"}) == {"policy": "auto"}


def test_what_takes_long_without_a_gpu_is_predicted_to():
    steps = {s.label: s for s in plan(preset="frozen", prepare_data={"dataset": "shapes"}).steps}

    def seconds(label: str, train: int = 700, megapixels: float = 0.077, cores: int = 2) -> float:
        return predicted_seconds(steps[label], {"train": train, "val": 300}, megapixels, cores)

    for label in ("compute_features", "train_segmentation"):  # measured: most of the time
        assert seconds(label) > 2 * seconds("infer_cam") > 0
        assert seconds(label, megapixels=0.154) == pytest.approx(2 * seconds(label))
        assert seconds(label, train=1400) > 1.5 * seconds(label) > seconds(label, cores=4)
