"""The practitioner's way on tiny data: run, mark in the gallery, export, mend, run again, add, run again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from wsss.data.sheet import read_ids
from wsss.data.sources.shapes.images import CLASS_NAMES, render
from wsss.runtime.labels import IGNORE
from wsss.store.maps import open_labels

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]
BACKBONE = {"name": "test_resnet", "output_stride": 8, "pretrained": False, "weights": None}
KEPT = ("prepare_data", "compute_features", "train_classifier", "infer_cam", "refine_cam", "make_pseudo_labels")


def add_photographs(numbers, rows: dict[str, str]) -> None:
    for i in numbers:
        image, mask = render(7, i)
        Image.fromarray(image).save(f"photos/{i}.png")
        rows[f"{i}"] = " ".join(CLASS_NAMES[c - 1] for c in np.unique(mask) if c not in (0, IGNORE))
    Path("labels.csv").write_text("image,labels\n" + "".join(f"{name},{labels}\n" for name, labels in rows.items()))


def configure() -> None:
    data = {"dataset": "folder", "images": "photos", "labels": "labels.csv", "classes": list(CLASS_NAMES)}
    run = {"preset": "frozen", "prepare_data": data, "compute_features": {"backbone": BACKBONE}}
    run |= {"train_classifier": {"backbone": BACKBONE, "method": {"steps": 200}}}
    run |= {"train_segmentation": {"backbone": BACKBONE, "training": {"epochs": 1}}}
    execution = {"shards": 2, "device": "cpu"}
    Path("photos.yaml").write_text(yaml.safe_dump({"runs": {"photos": run}, "execution": execution}, sort_keys=False))


def wsss(*arguments: str) -> str:
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "COLUMNS": "120"}
    command = [sys.executable, "-m", "wsss.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    log = Path("results/photos/run.log")
    assert done.returncode == 0, done.stderr[-2000:] + (log.read_text()[-3000:] if log.is_file() else "")
    return done.stdout + done.stderr


def mark_two(page_file: Path, out: Path) -> None:
    """Two training images, marked in the gallery by a key, and exported by its button."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(page_file.resolve().as_uri())
        page.wait_for_selector("#panels canvas")
        page.locator("#split").select_option("train")
        page.locator("#split").blur()
        page.keyboard.press("m")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("m")
        with page.expect_download() as download:
            page.locator("#export").click()
        download.value.save_as(out)
        browser.close()


def folders() -> dict[str, str]:
    return {link.name: str(link.readlink()) for link in Path("results/photos").iterdir() if link.is_symlink()}


def test_run_mark_export_mend_and_add(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    rows: dict[str, str] = {}
    add_photographs(range(20), rows)
    configure()
    run = ("run", "photos", "--labels", "labels.csv")
    wsss(*run)
    assert Path("results/photos/quality/label_mistakes.csv").is_file()
    mark_two(Path("results/photos/report.html"), Path("marked.csv"))
    marked = read_ids(Path("marked.csv"))
    assert len(marked) == 2
    before = folders()

    with open_labels("results/photos/make_pseudo_labels/train.h5") as store:
        labels = {image_id: store[image_id] for image_id in store}
    for name in ("png", "coco", "labelme", "cvat", "yolo"):
        chosen = ("--ids", "marked.csv", *(("--images",) if name != "png" else ()))
        wsss("labels", "export", "results/photos", *chosen, "--format", name, "--out", name)
        wsss("labels", "import", name, "--format", name, "--run", "results/photos", "--out", f"{name}-masks")
        for image_id in marked if name != "png" else ():
            with Image.open(f"{name}-masks/{image_id}.png") as mask:
                wrong = np.array(mask) != np.where(labels[image_id] == IGNORE, 0, labels[image_id])
            assert not wrong.any(), name
    coco = COCO("coco/instances.json")
    assert {image["file_name"] for image in coco.loadImgs(coco.getImgIds())} == {f"{i}.png" for i in marked}

    height, width = labels[marked[0]].shape
    for image_id in marked:
        file = Path(f"labelme/{image_id}.json")
        content = json.loads(file.read_text())
        assert (file.parent / content["imagePath"]).is_file()
        content["shapes"] = [
            {"label": CLASS_NAMES[0], "points": [[4, 4], [width // 2, height // 2]], "shape_type": "rectangle"}
        ]
        file.write_text(json.dumps(content))
    wsss(*run, "--corrections", "labelme")
    after = folders()
    assert (
        all(after[label] == before[label] for label in KEPT)
        and after["train_segmentation"] != before["train_segmentation"]
    )
    with open_labels("results/photos/corrections/train.h5") as store:
        changed = [image_id for image_id in store if not np.array_equal(store[image_id], labels[image_id])]
        assert sorted(changed) == sorted(marked)
        assert (store[marked[0]][4 : height // 2, 4 : width // 2] == 1).all()

    add_photographs(range(20, 23), rows)
    rows["0"] = CLASS_NAMES[0] if rows["0"] != CLASS_NAMES[0] else CLASS_NAMES[1]
    add_photographs((), rows)
    told = wsss(*run)
    assert "since the last time: 3 new images, 1 label changed: 0 (" in told
    files = Path("results/photos/compute_features/progress").glob("*.json")
    jobs = [json.loads(file.read_text()) for file in files]
    assert sum(job["reused"] for job in jobs) == 20 and sum(job["total"] for job in jobs) == 23
