"""`wsss reproduce`: what it says before any work, the configuration that it writes, and the command that it gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from wsss.cli import reproduce
from wsss.config.loading import ConfigError
from wsss.plan.published import systems
from wsss.plan.run import plan_runs

PRESETS = Path(__file__).parents[2] / "workflow" / "presets"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", systems())
def test_every_system_says_all_of_it_before_any_work(name, capsys):
    command = reproduce.reproduce(name, [], "2", PRESETS)
    said = capsys.readouterr().out
    for heading in ("Data", "Weights", "Steps", "Rows of miou.csv", "Different from what was published"):
        assert f"\n{heading}" in said
    assert "estimated and not measured" in said and "about 0.0 h" not in said and "It cannot start yet: " in said
    assert all(f" {miou:g} " in said for miou, _ in systems()[name].results.values())
    assert command[:3] == ["snakemake", "--cores", "2"] and f"results/{name}/miou.csv" in command
    config = Path(command[command.index("--configfile") + 1])
    assert name in plan_runs(yaml.safe_load(config.read_text()), PRESETS)


def test_weights_are_said_to_be_there_or_where_they_come_from(tmp_path, capsys):
    reproduce.reproduce("seam", [], "all", PRESETS)
    said = capsys.readouterr().out
    weights = said.partition("\nWeights\n")[2].partition("\n\n")[0].splitlines()
    assert weights[0].startswith("  published:resnet38: NOT THERE (ResNet-38 (Wu 2019), ImageNet") and len(weights) == 2
    assert "licence: not stated" in weights[0] and "get it by hand: github.com/itijyou/ademxapp" in weights[0]
    assert weights[0].endswith("; put it at data/weights/ilsvrc-cls_rna-a1_cls1000_ep-0001.params")
    stages = ("train_classifier", "train_affinity", "train_segmentation")
    assert weights[1] == f"    for {', '.join(f'{stage}.backbone.checkpoint' for stage in stages)}"
    reproduce.reproduce("irn", [], "all", PRESETS)
    said = capsys.readouterr().out
    assert "irn_resnet50.tv_in1k: timm downloads it" in said and "for train_classifier.backbone, train_affinity" in said
    (tmp_path / "net.pth").write_bytes(b"weights")
    reproduce.reproduce("seam", ["train_classifier.backbone.checkpoint=net.pth"], "all", PRESETS, force=True)
    assert "  net.pth: there, net.pth\n    for train_classifier.backbone.checkpoint\n" in capsys.readouterr().out


def test_differences_say_what_is_done_here_and_why(capsys):
    reproduce.reproduce("toco", ["choose_threshold=0.4", "prepare_data.root=/far"], "all", PRESETS)
    said = capsys.readouterr().out.partition("\nDifferent from")[2]
    assert "choose_threshold.value: published 0.5; here 0.4; as you set it" in said
    assert "box of PTC: published pixels applied" in said and "here the photograph, in tokens: the other" in said


def test_steps_are_those_that_the_training_runs(capsys):
    reproduce.reproduce("toco", [], "all", PRESETS)
    assert "4 a step: 20000 steps" in capsys.readouterr().out
    reproduce.reproduce("afa", [], "all", PRESETS)
    assert "6.804 epochs of 10582 images, 4 a step: 18000 steps" in capsys.readouterr().out


def test_settings_are_laid_on_top(capsys):
    reproduce.reproduce("toco", ["prepare_data.root=/far", "segment_end_to_end.crf=null"], "all", PRESETS)
    said = capsys.readouterr().out
    assert "root: /far" in said and "end_to_end_crf-val           69.8 is published, but this run measures no" in said
    with pytest.raises(ValueError, match="--set 'prepare_data'; accepted: KEY=VALUE"):
        reproduce.reproduce("toco", ["prepare_data"], "all", PRESETS)
    with pytest.raises(ConfigError, match=r"runs\.toco\.infer_cam\.scale: unknown key; did you mean 'scales'"):
        reproduce.reproduce("toco", ["infer_cam.scale=1"], "all", PRESETS)


def test_a_configuration_that_was_edited_is_kept(capsys):
    reproduce.reproduce("seam", [], "all", PRESETS)
    config = reproduce.CONFIGS / "seam.yaml"
    config.write_text(f"# mine\n{config.read_text()}")
    reproduce.reproduce("seam", [], "all", PRESETS)
    assert config.read_text().startswith("# mine")
    capsys.readouterr()
    with pytest.raises(ValueError, match=r"seam\.yaml: exists with other settings; --force overwrites it"):
        reproduce.reproduce("seam", ["prepare_data.root=/far"], "all", PRESETS)
    assert config.read_text().startswith("# mine") and not capsys.readouterr().out
    reproduce.reproduce("seam", ["prepare_data.root=/far"], "all", PRESETS, force=True)
    assert "root: /far" in config.read_text()


@pytest.mark.parametrize("go", [True, False])
def test_only_go_runs_the_command(go, monkeypatch, capsys):
    ran = []

    def run(program, command):
        ran.append(command)
        raise SystemExit(3)

    monkeypatch.setattr(reproduce, "reproduce", lambda *_, **__: ["snakemake", "results/a b/miou.csv"])
    monkeypatch.setattr(reproduce.os, "execv", run)
    monkeypatch.setattr(sys, "argv", ["wsss reproduce", "seam", *(["--go"] if go else [])])
    if go:
        with pytest.raises(SystemExit, match="3"):
            reproduce.main()
    else:
        reproduce.main()
    assert bool(ran) is go and "snakemake 'results/a b/miou.csv'" in capsys.readouterr().out


def test_what_is_no_system_ends_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["wsss reproduce", "seem"])
    with pytest.raises(SystemExit, match="2"):
        reproduce.main()
    error = capsys.readouterr().err
    assert (
        error.startswith("[reproduce] error: no published system 'seem'; did you mean 'seam'")
        and error.count("\n") == 1
    )
