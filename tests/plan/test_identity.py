"""A step's key follows all that decides its result, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from small_data import make_coco, make_folder, make_voc, picture
from wsss.config.loading import ConfigError, load_execution
from wsss.config.registry import SOURCES
from wsss.config.run import Execution
from wsss.plan import code
from wsss.plan.manifest import Manifest, read_manifest
from wsss.plan.notes import note
from wsss.plan.products import outdated, table_digest
from wsss.plan.run import missing_inputs, plan_runs

PRESETS = Path(__file__).parents[2] / "workflow" / "presets"
FOLLOWS = {"infer_cam", "choose_threshold", "refine_cam", "make_pseudo_labels", "segment", "quality", "evaluate"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Digests are remembered in a folder of the test's own."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def plan(**changes):
    return plan_runs({"runs": {"r": {"preset": "shapes", **changes}}}, PRESETS)["r"]


def keys(p):
    return {step.label: step.key for step in p.steps}


def changed(before, after):
    return {label for label in before if before[label] != after[label]}


# --- data sets ------------------------------------------------------------------------------------------------


def voc(root):
    return make_voc(root)


MAKERS = {"folder": make_folder, "voc": voc, "coco": make_coco}


def test_every_data_source_of_files_is_tried_here():
    files = {name for name, m in SOURCES.modules.items() if m.Settings.places}
    assert files == set(MAKERS)


def edits(kind, root):
    """Name → a file of the data set that decides something."""
    found = {
        "folder": ["labels.csv", "photos/a.jpg", "masks/a.png"],
        "voc": [
            "ImageSets/Segmentation/train.txt",
            "Annotations/a.xml",
            "JPEGImages/a.jpg",
            "SegmentationClass/a.png",
        ],
        "coco": ["annotations/instances_train2014.json", "train2014/1.jpg"],
    }[kind]
    return [root / name for name in found]


def data_plan(settings):
    return plan(prepare_data=settings, choose_threshold="auto", upper_bound=False)


@pytest.mark.parametrize("kind", MAKERS)
def test_an_edited_file_of_any_kind_replans_all_that_depends_on_it(kind, tmp_path):
    root = tmp_path / "data"
    settings = MAKERS[kind](root)
    for path in root.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))  # long ago: a file of this very second is not remembered
    before = keys(data_plan(settings))
    for path in edits(kind, root):
        whole, stat = path.read_bytes(), path.stat()
        only_measured = {"prepare_data", "evaluate"} if path.parent.name == "masks" else set(before)
        for other in (whole[:-1] + b" ", whole + b" "):  # the first in place, of equal size and time
            path.write_bytes(other)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            assert changed(before, keys(data_plan(settings))) == only_measured, path
        path.write_bytes(whole)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
        assert keys(data_plan(settings)) == before, f"{path}: equal bytes under another time"


@pytest.mark.parametrize("kind", MAKERS)
def test_a_data_set_that_moves_is_prepared_again_and_nothing_else(kind, tmp_path):
    settings = MAKERS[kind](tmp_path / "data")
    before = keys(data_plan(settings))
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    moved = json.loads(json.dumps(settings).replace(str(tmp_path / "data"), str(tmp_path / "moved")))
    assert changed(before, keys(data_plan(moved))) == {"prepare_data"}


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("voc", "JPEGImages/a.jpg", "JPEGImages/a.jpeg"),
        ("voc", "SegmentationClass/a.png", "SegmentationClassAug/a.png"),
        ("folder", "photos/a.jpg", "photos/a.jpeg"),
        ("folder", "masks/a.png", "masks/a.tif"),
        ("coco", "train2014/1.jpg", "train2014/more/1.jpg"),
    ],
)
def test_a_renamed_file_is_looked_for_again(kind, old, new, tmp_path):
    settings = MAKERS[kind](tmp_path)
    before = keys(data_plan(settings))
    (tmp_path / new).parent.mkdir(exist_ok=True)
    (tmp_path / old).rename(tmp_path / new)
    assert "prepare_data" in changed(before, keys(data_plan(settings)))


def test_added_masks_are_measured_with_and_nothing_else(tmp_path):
    settings = make_folder(tmp_path / "data")
    without = {name: value for name, value in settings.items() if name != "masks"}
    before, after = keys(data_plan(without)), keys(data_plan(settings))
    assert {label for label in before if before[label] != after[label]} == {"prepare_data", "evaluate"}
    skipping = {"on_bad_image": "skip"}
    before, after = keys(data_plan(without | skipping)), keys(data_plan(settings | skipping))
    assert all(before[label] != after[label] for label in before)


@pytest.mark.parametrize(
    ("changes", "reader"),
    [
        ({"choose_threshold": "oracle"}, "choose_threshold"),
        ({"choose_threshold": "masks"}, "choose_threshold"),
        ({"choose_threshold": {"policy": "masks", "refined": True}}, "choose_threshold-refined"),
        ({"train_segmentation": {"labels": "ground_truth"}}, "train_segmentation"),
        (
            {"preset": ["shapes", "shapes-irnet"], "train_affinity": {"displacement_over": "measured"}},
            "train_affinity",
        ),
    ],
)
def test_masks_are_in_the_key_of_what_reads_them(changes, reader, tmp_path):
    run = {"prepare_data": make_folder(tmp_path / "data"), "upper_bound": False, "choose_threshold": "auto"} | changes
    before, mask = keys(plan(**run)), tmp_path / "data/masks/a.png"
    mask.write_bytes(mask.read_bytes() + b" ")
    found = changed(before, keys(plan(**run)))
    assert {"prepare_data", reader, "evaluate"} <= found and not found & {"train_classifier", "infer_cam"}


def test_a_new_image_changes_the_data(tmp_path):
    settings = make_folder(tmp_path / "data")
    before = keys(data_plan(settings))
    picture(9).save(tmp_path / "data" / "photos" / "new.png")
    assert changed(before, keys(data_plan(settings))) == set(before)


def test_nothing_unchanged_is_read_twice(tmp_path, monkeypatch):
    settings = make_folder(tmp_path / "data")
    for path in (tmp_path / "data").rglob("*"):
        os.utime(path, ns=(10**18, 10**18))  # long ago: a file of this very second may change again
    first = keys(data_plan(settings))
    monkeypatch.setattr("wsss.runtime.contents._file_digest", lambda path: pytest.fail(f"{path} is read again"))
    assert keys(data_plan(settings)) == first


def test_a_lost_or_damaged_cache_costs_time_and_nothing_else(tmp_path):
    settings = make_folder(tmp_path / "data")
    first = keys(data_plan(settings))
    cache = Path("results/stages/.content.json")
    for text in ("", "{", "[]", '{"a": 1}', "\0"):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(text)
        assert keys(data_plan(settings)) == first


# --- weights --------------------------------------------------------------------------------------------------


def test_weights_count_by_content_not_by_name(tmp_path):
    def with_weights(name):
        backbone = {"name": "test_resnet", "checkpoint": str(tmp_path / name)}
        return keys(plan(train_classifier={"backbone": backbone}))

    (tmp_path / "a.pth").write_bytes(b"one")
    (tmp_path / "b.pth").write_bytes(b"one")
    before = with_weights("a.pth")
    assert with_weights("b.pth") == before
    (tmp_path / "a.pth").write_bytes(b"two")
    after = with_weights("a.pth")
    assert {"train_classifier", "evaluate"} <= changed(before, after) and "prepare_data" not in changed(before, after)


# --- execution ------------------------------------------------------------------------------------------------


def other_value(name, field):
    """A valid value that is not the default."""
    candidates = [True, False, 7, 0, 0.5, "cpu"]
    for value in candidates:
        try:
            if Execution.model_validate({name: value}) != Execution():
                return value
        except ValueError:
            continue
    raise AssertionError(f"no other value for execution.{name}: {field}")


@pytest.mark.parametrize("name", Execution.model_fields)
def test_no_field_of_execution_changes_a_key(name):
    value = other_value(name, Execution.model_fields[name])
    config = {"runs": {"r": {"preset": "shapes"}}}
    changed_config = config | {"execution": {name: value}}
    assert load_execution(changed_config) != load_execution(config)
    assert keys(plan_runs(changed_config, PRESETS)["r"]) == keys(plan_runs(config, PRESETS)["r"])


def test_execution_of_a_run_says_where_it_went():
    with pytest.raises(ConfigError, match=r"^runs\.r\.execution: is one top-level section[^\n]*$"):
        plan(execution={"shards": 3})


# --- code -----------------------------------------------------------------------------------------------------


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Plans with a copy of the package in which files are edited."""
    package = tmp_path / "wsss"
    shutil.copytree(importlib.util.find_spec("wsss").submodule_search_locations[0], package)

    def source(name):
        first, *rest = name.split(".")
        base = package.joinpath(*rest)
        candidates = (base.with_suffix(".py"), base / "__init__.py") if rest else (package / "__init__.py",)
        return next((path for path in candidates if path.is_file()), None) if first == "wsss" else None

    monkeypatch.setattr(code, "_source", source)

    def forget():
        for function in (code._tree, code._imports, code._module_digest):
            function.cache_clear()

    def run(file, old, new):
        forget()
        before = keys(plan())
        path = package / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        forget()
        return changed(before, keys(plan()))

    yield run
    forget()


def test_an_edited_walk_leaves_the_classifier_alone(edit):
    found = edit("refine/walk.py", "\ndef half_plane_offsets(", "\nX = 1\n\n\ndef half_plane_offsets(")
    assert {"refine_cam", "make_pseudo_labels", "train_segmentation"} <= found
    assert not found & {"prepare_data", "train_classifier", "infer_cam", "choose_threshold"}


def test_an_edited_method_changes_the_classifier_and_another_method_does_not(edit):
    assert "train_classifier" in edit("methods/cam/network.py", "\nclass CAM(", "\nX = 1\n\n\nclass CAM(")
    assert not edit("methods/seam/network.py", "from torch import", "X = 1\nfrom torch import")


def test_a_docstring_changes_nothing(edit):
    assert not edit("methods/cam/network.py", '"""', '"""Something else: ')


@pytest.mark.parametrize("stage", ["collect", "make_table", "affinity_map", "report"])
def test_programs_without_a_key_have_a_digest_too(stage):
    assert code.code_digest(f"wsss.stages.{stage}") != code.code_digest("wsss.stages.merge_shards")


# --- manifests ------------------------------------------------------------------------------------------------


def test_a_manifest_comes_back_and_a_damaged_one_is_refused(tmp_path):
    manifest = Manifest("segment", {"a": [1, None, "ü"]}, "c" * 16, {"data": "d" * 16}, {"x": "e"})
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest and read_manifest(tmp_path).key == manifest.key
    for text in ("", "{}", "[1]", manifest.text().replace("segment", "segmenT"), manifest.text()[:-9]):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match=r"manifest\.json: [^\n]*remove"):
            read_manifest(tmp_path)


def test_a_folder_of_another_step_is_not_used(tmp_path):
    Manifest("segment", {}, "c").write(tmp_path)
    with pytest.raises(ValueError, match="results of another step"):
        Manifest("segment", {}, "d").write(tmp_path)


def test_a_folder_of_another_step_stops_the_run_before_it_begins():
    p = plan()
    folder = p.step("evaluate").folder
    p.step("evaluate").manifest.write(folder)
    assert missing_inputs(p) is None
    other = p.step("quality").manifest
    for text, told in (("{", "not a manifest of a stage"), (other.text(), f"holds the results of step {other.key}")):
        (folder / "manifest.json").write_text(text)
        assert told in missing_inputs(p) and str(folder) in missing_inputs(p)


def test_a_table_whose_links_are_lost_or_of_other_steps_is_made_again():
    p, table = plan(), Path("results/r/miou.csv")
    table.parent.mkdir(parents=True)
    table.write_text("stage,split\n")
    note(table, table_digest(p))
    for step in p.steps:
        (table.parent / step.label).symlink_to(os.path.relpath(step.folder, table.parent))
    assert not outdated([str(table)], {"r": p}, {})
    (table.parent / "segment").unlink()
    assert outdated([str(table)], {"r": p}, {}) == {str(table)}
    (table.parent / "segment").symlink_to("../stages/segment/" + "0" * 16)
    for target in (str(table), "results/compare.html"):
        assert outdated([target], {"r": p}, {}, ["r"]) == {str(table)}


def test_settings_of_a_stage_are_exactly_what_its_program_gets():
    from wsss.config import stages

    sections = {
        "prepare_data": stages.PrepareData, "train_classifier": stages.TrainClassifier, "infer_cam": stages.InferCam,
        "choose_threshold": stages.ChooseThreshold, "make_affinity_labels": stages.MakeAffinityLabels,
        "train_affinity": stages.TrainAffinity, "refine_cam": stages.RefineCam,
        "make_pseudo_labels": stages.MakePseudoLabels, "train_segmentation": stages.TrainSegmentation,
        "segment": stages.Segment, "quality": stages.Quality, "evaluate": stages.Evaluate,
    }  # fmt: skip
    for step in plan().steps:
        again = TypeAdapter(sections[step.stage]).validate_python(json.loads(json.dumps(step.config)))
        assert again == step.settings, step.label


def test_planning_imports_no_network():
    import subprocess
    import sys

    program = (
        "import sys; from wsss.plan.run import plan_runs; from pathlib import Path;"
        f"plan_runs({{'runs': {{'r': {{'preset': 'shapes'}}}}}}, Path({str(PRESETS)!r}))['r'].steps[-1].key;"
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- what is half finished ------------------------------------------------------------------------------------


def test_a_training_goes_on_with_the_threads_it_began_with(tmp_path):
    from wsss.training.loop import Trainer

    def trainer(identity="a", steps=4):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
        return Trainer(
            model=model,
            losses=lambda item, step: {"l": model(item).square().mean()},
            optimizer=optimizer,
            schedule=lambda step: 1.0,
            steps=steps,
            state=tmp_path,
            identity=identity,
            rng_seed=0,
            device=torch.device("cpu"),
        )

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        trainer().save()
        torch.set_num_threads(1)
        trainer().fit(lambda first: iter([torch.ones(2, 3)] * (4 - first)))
        assert torch.get_num_threads() == 3
        for damage in (b"", b"PK", (tmp_path / "state.pt").read_bytes()[:200]):
            (tmp_path / "state.pt").write_bytes(damage)
            again = trainer()
            again.fit(lambda first: iter([torch.ones(2, 3)] * (4 - first)))
            assert again.step == 4 and (tmp_path / "state.damaged").read_bytes() == damage
        spoilt = trainer("b", 1)
        spoilt.fit(lambda first: iter([torch.full((2, 3), 1e30)]))
    except ValueError as error:
        assert "not finite" in str(error) or "NaN" in str(error)
    else:
        raise AssertionError("a network that is not finite was saved as finished")
    finally:
        torch.set_num_threads(before)
