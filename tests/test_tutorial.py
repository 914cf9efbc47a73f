"""docs/tutorial.md, command by command, on a small generated folder with a smaller recipe."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from wsss.data.sources.shapes.images import CLASS_NAMES, render
from wsss.runtime.labels import IGNORE

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BRIEF = {"epochs": 2, "batch_size": 8}


def commands() -> list[str]:
    """Every line of the tutorial's `bash` blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """photos/, labels.csv and new-photos/, as the tutorial says."""
    folder = tmp_path_factory.mktemp("own")
    rows = ["image,labels"]
    for i in range(36):
        image, mask = render(7, i)
        path = Path("photos" if i < 28 else "new-photos", f"day{i % 2}", f"{i}{('.jpg', '.png')[i % 3 == 0]}")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / path)
        if i < 28:
            names = (CLASS_NAMES[c - 1] for c in np.unique(mask) if c not in (0, IGNORE))
            rows.append(f"{path.relative_to('photos')},{' '.join(names)}")
    (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    return folder


def adapted(command: str) -> list[str]:
    """The command for this test's recipe and place; otherwise as it stands."""
    words = shlex.split(command)
    if words[:2] == ["wsss", "init"]:
        words += ["--preset", "shapes"]
    starts = {"wsss": [sys.executable, "-m", "wsss.cli.main"]}
    return [*starts.get(words[0], words[:1]), *words[1:]]


def shorten(file: Path) -> None:
    """Epochs for a test, where the tutorial's reader trains in earnest."""
    config = yaml.safe_load(file.read_text())
    run = config["runs"]["photos"]
    for stage in ("train_classifier", "train_affinity", "train_segmentation"):
        run[stage] = run.get(stage, {}) | {"training": BRIEF}
    config["execution"] = {"shards": 1, "device": "cpu"}
    file.write_text(yaml.safe_dump(config))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_runs_as_it_stands(own):
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    for command in commands():
        words = adapted(command)
        done = subprocess.run(words, cwd=own, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
        if command.startswith("wsss init"):
            shorten(own / "photos.yaml")
    run = own / "results" / "photos"
    assert pd.read_csv(run / "miou.csv").empty
    assert pd.read_csv(run / "quality" / "quality.csv")["class"].tolist() == sorted(CLASS_NAMES)
    masks = sorted(p.relative_to(own / "masks").as_posix() for p in (own / "masks").rglob("*.png"))
    assert len(masks) == 8 and masks[0].startswith("day0/")
    card = (run / "model" / "model_card.md").read_text()
    assert "Not measured" in card and "beetle" in card and (run / "model" / "model.safetensors").is_file()
    assert (own / "model.onnx").stat().st_size > 1e5


def test_the_tutorial_has_every_step():
    text = "\n".join(commands())
    for word in ("wsss init", "wsss run", "quality.csv", "wsss predict", "wsss export"):
        assert word in text
