"""Mishaps around the work: names that YAML reads otherwise, numbers without bounds, results that lack a key,
systems without locks or shared memory, and text that a spreadsheet would run."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pydantic import BaseModel
from rich.console import Console

from small_data import picture
from wsss.cli.prediction import load_predictor
from wsss.cli.show import show
from wsss.cli.status import render
from wsss.config.common import LARGEST
from wsss.config.loading import (
    ConfigError,
    all_runs,
    compared_runs,
    load_execution,
    load_run,
    merge,
    models_in,
    read_config,
)
from wsss.config.run import Execution, Run
from wsss.config.sections import Augmentation
from wsss.data import loading
from wsss.data.augment import Augment
from wsss.data.dataset import Dataset, Record, write_index
from wsss.report.run import RunResults
from wsss.runtime.cells import csv_text, escaped, frame_text, unescaped
from wsss.runtime.locks import alone_in
from wsss.runtime.records import read_record, read_table
from wsss.store.maps import open_labels
from wsss.store.writers import LabelWriter

PRESETS = Path(__file__).parents[2] / "workflow" / "presets"


@pytest.mark.parametrize("name", ["2020", "on", "no", "1.5", "2020-01-01", "null", "0x10"])
def test_names_that_are_no_text_to_yaml(name):
    with pytest.raises(ConfigError, match=r"runs: to YAML the name .* is no text; write it in quotes") as raised:
        all_runs(yaml.safe_load(f"runs: {{{name}: {{preset: shapes}}}}"))
    assert "\n" not in str(raised.value)
    assert all_runs(yaml.safe_load(f"runs: {{'{name}': {{preset: shapes}}}}"))


@pytest.mark.parametrize("run", ["shapes", 3, ["shapes"], True, None, False, 0, [], ""])
def test_a_run_that_is_no_mapping(run):
    with pytest.raises(ConfigError, match=r"runs\.x: a mapping of settings is needed"):
        load_run("x", {"x": run}, PRESETS)


def numbers(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every number below a section that is there without a choice."""
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        if len(inner) == 1 and any(f.is_required() for f in inner[0].model_fields.values()):
            continue  # would be refused for what it lacks
        if len(inner) == 1:
            yield from numbers(inner[0], (*prefix, name))
        elif not inner and set(plain_types(field.annotation)) <= {int, float, NoneType}:
            yield (*prefix, name)


def plain_types(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from plain_types(get_args(annotation)[0])
    elif get_args(annotation):
        for member in get_args(annotation):
            yield from plain_types(member)
    else:
        yield annotation


def nested(path: tuple[str, ...], value: Any) -> Any:
    return {path[0]: nested(path[1:], value)} if path else value


RUN_NUMBERS = list(numbers(Run))


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, -(10**12)])
def test_every_number_of_a_run_has_bounds(value):
    base = yaml.safe_load((PRESETS / "shapes.yaml").read_text())
    assert len(RUN_NUMBERS) > 50
    for path in RUN_NUMBERS:
        with pytest.raises(ConfigError) as raised:
            load_run("x", {"x": merge(base, nested(path, value))}, PRESETS)
        assert all(path[-1] in line for line in str(raised.value).splitlines()), path


@pytest.mark.parametrize("path", list(numbers(Execution)))
@pytest.mark.parametrize("value", [float("inf"), 10**9, -1])
def test_every_number_of_the_execution_has_bounds(path, value):
    with pytest.raises(ConfigError, match=rf"execution(\.{path[0]})?: "):
        load_execution({"execution": nested(path, value)})


UNFIT = {
    "augment.scale": [[2, 1], [0, 1], [-1, 1], [1, 1000]],
    "augment.longest_edge": [[400, 224], [0, 0], [-5, 5]],
    "augment.colour_jitter": [[2, 0, 0, 0], [0, 0, 0, 0.6], [-1, 0, 0, 0]],
    "augment.distort": [{"blur_radius": [2, 1]}, {"blur_radius": [-1, 1]}, {"colour_jitter": [1, 1, 1, 1]}],
    "augment.views": [{"a": {"area": [0, 0.5]}}, {"a": {"area": [0.5, 2]}}, {"a": {"area": [0.5, 0.1]}}],
}


@pytest.mark.parametrize("key", UNFIT)
def test_ranges_are_in_order_and_such_that_every_draw_can_be_used(key):
    for value in UNFIT[key]:
        training = nested(("train_classifier", "training", *key.split(".")), value)
        with pytest.raises(ConfigError, match=rf"^runs\.x\.train_classifier\.training\.{key}\S*: ") as raised:
            load_run("x", {"x": {"preset": "shapes"} | training}, PRESETS)
        assert "\n" not in str(raised.value).replace("\nruns.", "")


@pytest.mark.parametrize("part", ["train_classifier.backbone", "train_segmentation"])
@pytest.mark.parametrize("option", ["drop_path_rate", "drop_rate", "decoder_dropout", "hidden_dropout_prob"])
def test_probabilities_of_dropping_are_probabilities(part, option):
    for value in (2, -1):
        run = nested((*part.split("."), "options"), {option: value})
        with pytest.raises(ConfigError, match=rf"options\.{option}: {value}; accepted are 0 to 1"):
            load_run("x", {"x": merge({"preset": "shapes"}, run)}, PRESETS)


def test_numbers_in_lists_have_bounds_as_well():
    views = {"infer_cam": {"scales": [1.0, 10.0 * LARGEST]}}
    with pytest.raises(ConfigError, match=r"x\.infer_cam\.scales\.1: input should be less than"):
        load_run("x", {"x": {"preset": "shapes"} | views}, PRESETS)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": 3}', '{"state": "done"}', "\0\0", "9" * 5000])
def test_status_passes_over_a_progress_file_that_says_nothing(text, tmp_path):
    folder = tmp_path / "results" / "stages" / "infer_cam" / "0123456789abcdef" / "progress"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(text)
    Console(file=open(os.devnull, "w")).print(render(tmp_path / "results"))  # noqa: SIM115, PTH123


def test_a_pipe_that_is_closed_early_is_no_error():
    command = f"{sys.executable} -m wsss.cli.describe | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.returncode == 0


STEPS = [{"label": name, "stage": name, "folder": ".", "upstream": {}} for name in ("prepare_data", "evaluate")]
OUTLINE = {"run": "x", "published": {}, "steps": STEPS}


@pytest.mark.parametrize("key", OUTLINE)
def test_a_key_that_a_result_lacks_is_one_line(key, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({k: v for k, v in OUTLINE.items() if k != key}))
    with pytest.raises(ValueError, match=rf"run\.json: damaged \(there is no '{key}'\); delete"):
        RunResults(tmp_path)


def test_a_column_that_a_table_lacks_is_one_line(tmp_path):
    (tmp_path / "miou.csv").write_text("stage,split\ncam,train\n")
    with pytest.raises(ValueError, match=r"miou\.csv: damaged \(there is no column 'threshold'\)"):
        show(tmp_path, Console(quiet=True))


def test_a_finished_run_without_a_network_is_not_told_to_finish(tmp_path):
    (tmp_path / "stages").mkdir()
    (run := tmp_path / "tiny").mkdir()
    with pytest.raises(ValueError, match="make it with: snakemake"):
        load_predictor(run, torch.device("cpu"), 512)
    (run / "miou.csv").write_text("stage\n")
    with pytest.raises(ValueError, match="is finished, and trains no network that decodes masks"):
        load_predictor(run, torch.device("cpu"), 512)


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(OSError, match=r"\.lock: its file system has no locks \(No locks available\)"),
        alone_in(tmp_path),
    ):
        pass


def test_a_store_that_cannot_be_locked_is_not_called_damaged(tmp_path, monkeypatch):
    with LabelWriter(tmp_path / "x.h5", class_names=["a"], palette=np.zeros((1, 3), np.uint8)) as out:
        out.add("i", np.zeros((4, 4), np.uint8))

    def refuse(*_, **__):
        raise OSError("Unable to synchronously open file (unable to lock file, errno = 37, error message = 'No locks')")

    monkeypatch.setattr("h5py.File", refuse)
    with pytest.raises(ValueError, match=r"x\.h5: cannot be locked .* set it to FALSE"):
        open_labels(tmp_path / "x.h5")


@pytest.fixture
def samples(tmp_path):
    picture(1, (20, 24)).save(tmp_path / "a.png")
    record = Record("a", tmp_path / "a.png", None, np.ones(2, np.float32), "train", False, (20, 24))
    return loading.Samples([record], Augment(Augmentation(crop=16), (0.5,) * 3, (0.2,) * 3), rng_seed=5)


def test_a_small_shared_memory_is_gone_without(samples, monkeypatch, caplog):
    whole = [batch.images for batch, _ in loading.batches(samples, 0, 3, 2, 0)]
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    found = [batch.images for batch, _ in loading.batches(samples, 0, 3, 2, 2)]
    assert all(torch.equal(a, b) for a, b in zip(whole, found, strict=True))
    assert "/dev/shm is too small for batches of 2 loader process(es)" in caplog.text


def test_a_loader_that_dies_says_what_to_set(samples, monkeypatch):
    def die(*_, **__):
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Bus error.")
        yield

    monkeypatch.setattr(loading.data, "DataLoader", die)
    with pytest.raises(ValueError, match=r"a loader process ended .*; set execution\.workers: 0"):
        next(loading.batches(samples, 0, 3, 2, 1))


ACTING = ["=1+1", "+x", "-cat", "@a", "\tx", "\rx", "'=x", "''@y", "'a", "a=b", "", "-1", "-1.5e3", "'-1"]


@pytest.mark.parametrize("cell", ACTING)
def test_what_a_spreadsheet_would_run_is_written_behind_an_apostrophe(cell):
    written = escaped(cell)
    assert unescaped(written) == cell
    assert written == cell or written == f"'{cell}"
    assert written[:1] not in tuple("=@\t\r") and (written[:1] not in ("+", "-") or float(written))


def test_tables_give_back_what_was_written(tmp_path):
    frame = pd.DataFrame({"class": [*ACTING[:2], "01", "1e3", "True"], "=sum": [-1.5, 2, 3, 4, 5], "n": range(5)})
    numbers = pd.DataFrame({"class": ["01", "1e3"], "n": range(2)})
    (tmp_path / "y.csv").write_text(frame_text(numbers))
    pd.testing.assert_frame_equal(read_table(tmp_path / "y.csv"), numbers, check_dtype=False)
    (tmp_path / "x.csv").write_text(frame_text(frame))
    cells = [cell for row in csv.reader((tmp_path / "x.csv").open(newline="")) for cell in row]
    assert not [cell for cell in cells if cell[:1] in tuple("=+@\t\r") or (cell[:1] == "-" and not float(cell))]
    pd.testing.assert_frame_equal(read_table(tmp_path / "x.csv"), frame, check_dtype=False)


def test_the_index_holds_any_id_and_gives_it_back(tmp_path):
    ids = ["=1+1", "-a", "@b", "'+c", "d"]
    names = ["background", "=cat", "-dog"]
    rows = []
    for number, image_id in enumerate(ids):
        picture(number).save(tmp_path / f"{image_id}.png")
        split = "val" if number > 3 else "train"
        values = (image_id, f"{image_id}.png", "", "=cat;-dog", split, "0")
        rows.append(dict(zip(("image_id", "image", "mask", "labels", "split", "measured"), values, strict=True)))
    write_index(tmp_path, "x", names, np.zeros((3, 3), np.uint8), rows)
    text = (tmp_path / "index.csv").read_text()
    assert "\n=" not in text and ",=" not in text and "\n-" not in text
    found = Dataset(tmp_path).records
    assert [r.image_id for r in found] == ids and all(r.image.is_file() and r.labels.all() for r in found)


def test_records_are_mappings_of_the_right_types(tmp_path):
    for text in ("", "[1]", "3", '{"a": "x"}', "{", "[" * 100_000):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ValueError, match=r"x\.json: damaged \(.*\); delete") as raised:
            read_record(tmp_path / "x.json", a=int)
        assert "\n" not in str(raised.value)
    (tmp_path / "x.csv").write_text(csv_text([["a", "hint"], [1, "=2"]]))
    assert read_table(tmp_path / "x.csv", "a").hint[0] == "=2"


def test_presets_that_name_each_other_are_one_line(tmp_path):
    (tmp_path / "a.yaml").write_text("preset: b\n")
    (tmp_path / "b.yaml").write_text("preset: [a]\n")
    with pytest.raises(ConfigError, match=r"^runs\.x\.preset: presets name each other in a circle: a → b → a$"):
        load_run("x", {"x": {"preset": "a"}}, tmp_path)


@pytest.mark.parametrize("content", [b"runs: [", b"\xff\xfe\0", b"- 1\n", b"[" * 3000])
def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path, content):
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.yaml: (not YAML|a mapping is needed)") as raised:
        read_config(tmp_path / "x.yaml")
    assert "\n" not in str(raised.value)


PLAIN = "runs: {a: {preset: shapes}}\n"
UNMEANT = {
    "a key of the top level twice": (f"{PLAIN}{PLAIN}", "line 2: the key 'runs' is repeated after line 1"),
    "a run twice": ("runs:\n  a: {preset: shapes}\n  a: {preset: photos}\n", "line 3: the key 'a' is repeated"),
    "a setting twice in JSON": (
        '{"runs": {"a": {"rng_seed": 1, "rng_seed": 2}}}',
        "line 1: the key 'rng_seed' is repeated",
    ),
    "a setting twice": ("runs: {a: {preset: shapes, preset: photos}}", "line 1: the key 'preset' is repeated"),
    "an octal number": ("runs: {a: {rng_seed: 010}}", "010 is another number to YAML; write it in plain digits"),
    "a number in minutes": ("runs: {a: {rng_seed: 1:30}}", "1:30 is another number to YAML"),
    "a part that holds itself": ("runs: &a\n  x: *a\n", "line 1: a part that holds itself"),
    "immense by aliases": (
        "a: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(f"b{i}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9)),
        "more than 1,000,000 values",
    ),
    "a tab": ("runs:\n\ta: {}\n", "line 2: while scanning for the next token"),
    "two documents": (f"{PLAIN}---\n{PLAIN}", "expected a single document"),
}


@pytest.mark.parametrize("case", UNMEANT)
def test_yaml_that_nobody_means_is_one_line_with_its_place(tmp_path, case):
    text, told = UNMEANT[case]
    file = tmp_path / ("x.json" if text.startswith("{") else "x.yaml")
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.\w+: not YAML that is accepted \(line \d+: ") as raised:
        read_config(file)
    assert told in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text", [PLAIN, f"\ufeff{PLAIN}", PLAIN.replace("\n", "\r\n"), '{"runs": {"a": {"preset": "shapes"}}}']
)
def test_yaml_of_any_editor_is_read(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text, newline="")
    assert read_config(tmp_path / "x.yaml") == {"runs": {"a": {"preset": "shapes"}}}


def test_characters_that_json_writes_as_two_are_one(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"runs": {"🐱": {"preset": "ä"}}}))
    assert read_config(tmp_path / "x.json") == {"runs": {"🐱": {"preset": "ä"}}}


def test_equal_parts_by_alias_and_what_a_part_adds_to_another_are_no_repetition(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "runs:\n  a: &a {preset: shapes, rng_seed: 1}\n  b: {<<: *a, rng_seed: 2}\n  c: *a\n"
    )
    assert [run["rng_seed"] for run in read_config(tmp_path / "x.yaml")["runs"].values()] == [1, 2, 1]


@pytest.mark.parametrize(
    "name", ["-a", "--help", "..", ".", "stages", "Tables", "compare.html", "a b", "a/b", "x" * 101, "a\n", ""]
)
def test_names_that_no_run_may_have(name):
    with pytest.raises(ConfigError, match=r"^runs\..*'s name") as raised:
        all_runs({"runs": {name: {"preset": "shapes"}}})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("names", [("tiny", "Tiny"), ("Straße", "STRASSE"), ("가", "\u1100\u1161")])
def test_names_whose_folders_may_be_one(names):
    with pytest.raises(ConfigError, match=r"^runs\..* only in case or Unicode form; give it another name$"):
        all_runs({"runs": {name: {"preset": "shapes"} for name in names}})


@pytest.mark.parametrize(
    ("compare", "told"),
    [
        ("nope", "no run 'nope'"),
        ("tiny,tony", "no run 'tony'; did you mean 'tiny'?; runs: tiny"),
        (["tiny", "tiny"], "run 'tiny' occurs twice"),
        ([["tiny"]], "accepted are names of runs"),
        (2020, "in quotes where YAML would take them for numbers"),
        ({"a": 1}, "accepted are names of runs"),
    ],
)
def test_runs_to_compare_are_known_when_a_workflow_is_planned(compare, told):
    with pytest.raises(ConfigError, match=r"^compare: ") as raised:
        compared_runs({"runs": {"tiny": {}}, "compare": compare})
    assert told in str(raised.value)


@pytest.mark.parametrize("value", [True, False])
def test_true_is_no_number(value):
    for path in RUN_NUMBERS:
        base = yaml.safe_load((PRESETS / "shapes.yaml").read_text())
        with pytest.raises(ConfigError, match=r"a (number|mapping of settings) is needed; found"):
            load_run("x", {"x": merge(base, nested(path, value))}, PRESETS)


@pytest.mark.parametrize("execution", [0, False, "", [], "fast", 3])
def test_an_execution_that_is_no_mapping(execution):
    with pytest.raises(ConfigError, match=r"^execution: a mapping of settings is needed; found"):
        load_execution({"execution": execution})


def test_long_values_are_cut_in_messages():
    with pytest.raises(ConfigError) as raised:
        load_run(
            "x",
            {"x": {"preset": "shapes", "upper_bound": "y" * 10**5, "infer_cam": {"scales": ["z" * 10**5]}}},
            PRESETS,
        )
    assert max(map(len, str(raised.value).splitlines())) < 400
