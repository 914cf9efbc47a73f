"""Large plans and large stores, without data: what grows, grows slowly."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from tiny import Project, environment
from wsss.store.maps import open_labels, open_scores
from wsss.store.writers import LabelWriter, ScoreWriter

IMAGES = 100_000
READ_SECONDS = 2e-3


def write_many(root: Path, images: int) -> None:
    """A folder of empty files with a CSV: whoever reads one of them fails."""
    rows = ["image,labels"]
    for part in range(100):
        (root / "photos" / f"{part:03}").mkdir(parents=True)
        for number in range(images // 100):
            (root / "photos" / f"{part:03}" / f"{number:04}.jpg").touch()
            rows.append(f"{part:03}/{number:04}.jpg,{'cat' if number % 2 else 'dog'}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("number", "images", "most"), [(1, 10_000, 15.0), pytest.param(10, IMAGES, 60.0, marks=pytest.mark.slow)]
)
def test_many_runs_of_64_shards_and_many_images_are_planned_in_seconds(number, images, most, tmp_path):
    many = tmp_path / "many"
    write_many(many, images)
    data = {"dataset": "folder", "images": str(many / "photos"), "labels": str(many / "labels.csv")}
    common = {"preset": "shapes", "prepare_data": data}
    common |= {"choose_threshold": "auto", "upper_bound": False}
    project = Project(tmp_path, {})
    runs = {f"run{seed}": common | {"rng_seed": seed} for seed in range(number)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"runs": runs, "execution": {"shards": 64}}))
    targets = [f"results/{run}/miou.csv" for run in runs]
    command = [*project.command("--dry-run", "--quiet", "all", "--", target=targets[0]), *targets[1:]]
    subprocess.run(command, capture_output=True, env=environment(), check=True)  # reads every file once
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    planned = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert planned.returncode == 0, planned.stderr[-2000:]
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < most, f"{seconds:.1f} s of CPU time"


def resident() -> int:
    """Bytes of this process in memory now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labels", "scores"])
def test_random_reads_of_100_000_entries(kind, tmp_path):
    names, path = ["background", "cat"], tmp_path / "x.h5"
    label, scores = np.zeros((16, 16), np.uint8), np.zeros((1, 16, 16), np.float32)
    if kind == "labels":
        with LabelWriter(path, class_names=names, palette=np.zeros((2, 3), np.uint8)) as out:
            for number in range(IMAGES):
                out.add(f"images/{number:06}", label)
    else:
        with ScoreWriter(path, class_names=names) as out:
            for number in range(IMAGES):
                out.add(f"images/{number:06}", np.array([1]), scores)
    order = np.random.default_rng(0).integers(0, IMAGES, 4000)
    with (open_labels if kind == "labels" else open_scores)(path) as store:
        for number in order[:1000]:
            store[f"images/{number:06}"]
        settled, start = resident(), time.process_time()
        for number in order[1000:]:
            store[f"images/{number:06}"]
        seconds = (time.process_time() - start) / 3000
        assert resident() - settled < 4 * 2**20, "memory grows with reading"
    assert seconds < READ_SECONDS, f"{1e3 * seconds:.2f} ms a read"


CODE = """
import resource, sys, time
from pathlib import Path
from wsss.data.dataset import Dataset
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
records = Dataset(Path(sys.argv[1])).split("val")
assert len(records) == 10_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, time.process_time() - start)
"""


def test_a_table_of_100_000_images_is_read_quickly(tmp_path):
    info = '{"name": "x", "class_names": ["background", "cat", "dog"], "palette": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]}'
    (tmp_path / "dataset.json").write_text(info)
    with (tmp_path / "index.csv").open("w") as file:
        file.write("image_id,image,mask,labels,split,measured,height,width\n")
        for number in range(IMAGES):
            split = "val" if number % 10 == 0 else "train"
            file.write(f"{number},photos/{number}.jpg,,cat;dog,{split},0,375,500\n")
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=True)
    mebibytes, seconds = map(float, done.stdout.split())
    assert mebibytes < 200 and seconds < 8, done.stdout
