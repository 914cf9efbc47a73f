"""Every reader of the product: an honest file of its kind, and all that the reader learns of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from small_data import WRITE, make_coco, make_folder, picture
from wsss.backbones.checkpoints import read_state_dict
from wsss.cli.inputs import find_images
from wsss.cli.labels import bring
from wsss.cli.status import render
from wsss.config.hints import configurations
from wsss.config.loading import all_runs, load_execution, load_run, load_section
from wsss.config.registry import FORMATS, SOURCES
from wsss.config.stages import SECTIONS
from wsss.data.checks import Preflight, check_rows
from wsss.data.dataset import Dataset, write_index
from wsss.data.images import read_image, read_mask
from wsss.data.labels_csv import read_labels
from wsss.data.palette import voc_palette
from wsss.plan.manifest import Manifest, read_manifest
from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.readers import read_proposals
from wsss.refine.proposals.store import MaskStore, write_masks
from wsss.report.run import RunResults
from wsss.runtime.contents import Contents
from wsss.runtime.progress import JobFile
from wsss.stages.common import read_threshold
from wsss.store.features import FeatureStore, FeatureWriter
from wsss.store.journal import Journal
from wsss.store.maps import open_any
from wsss.store.models import read_model, save_model
from wsss.store.writers import LabelWriter, ScoreWriter

NAMES = ("background", "cat", "dog")
SIZE = (30, 40)
IDS = [f"folder/{i}" for i in range(6)]


@dataclass(frozen=True)
class Reader:
    """write: makes an honest file in a folder and gives its path, which bears the reader's data alone or as a part.

    read: all that the product learns of the file. sealed: it carries a checksum of all that is read.
    text: it is written by people or other tools, as text. named: an error names the file, not a key or a neighbour.
    slack: bytes that a refusal may take; for images, what the most pixels that are accepted take.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    sealed: bool = False
    text: bool = False
    named: bool = True
    slack: int = 1 << 22


def _labels(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    attributes = {"threshold": "0.3"}
    with LabelWriter(folder / "x.h5", class_names=NAMES, palette=voc_palette()[:3], attributes=attributes) as out:
        for image_id in IDS:
            out.add(image_id, rng.integers(0, 3, SIZE).astype(np.uint8))
    return folder / "x.h5"


def _scores(folder: Path) -> Path:
    rng = np.random.default_rng(2)
    with ScoreWriter(folder / "x.h5", class_names=NAMES) as out:
        for image_id in IDS:
            out.add(image_id, np.array([1, 2]), rng.random((2, *SIZE), np.float32))
    return folder / "x.h5"


def _maps(path: Path) -> Any:
    with open_any(path) as store:
        about = (store.class_names, str(store.palette), store.attributes, list(store))
        return about, [[np.asarray(part).tobytes() for part in store[i]] for i in store]


def _features(folder: Path) -> Path:
    with FeatureWriter(folder / "x.h5", (1.0, 0.5), (3, "last")) as out:
        for number, image_id in enumerate(IDS):
            rng = np.random.default_rng(number)
            out.add(image_id, bytes(16), [rng.random((2, 3, 4, 5), np.float32) for _ in range(4)])
    return folder / "x.h5"


def _feature_maps(path: Path) -> Any:
    with FeatureStore(path) as store:
        about = (store.scales, store.stages, list(store))
        return about, [(store[i].digest, [m.tobytes() for m in store[i].maps]) for i in store]


def _proposals(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    write_masks(folder / "x.h5", ((i, Masks.from_dense(rng.random((3, *SIZE)) < 0.3)) for i in IDS))
    return folder / "x.h5"


def _proposal_masks(path: Path) -> Any:
    with MaskStore(path) as store:
        found = [store.get(image_id, SIZE) for image_id in IDS]
        return len(store), [None if m is None else (m.to_dense().tobytes(), m.level.tolist()) for m in found]


def _proposal_runs(folder: Path) -> Path:
    runs = {"size": [4, 5], "counts": [3, 4, 13]}
    from pycocotools import mask

    packed = mask.encode(np.asfortranarray(np.eye(4, 5, dtype=np.uint8)))
    short = {"size": [4, 5], "counts": packed["counts"].decode()}
    items = [{"segmentation": runs, "level_idx": 1}, {"segmentation": short}]
    return _saved(folder / "x.json", json.dumps({"annotations": items}))


def _dense(path: Path) -> Any:
    found = read_proposals(path)
    return found.to_dense().tobytes(), found.level.tolist()


def _model(folder: Path) -> Path:
    torch.manual_seed(0)
    save_model(torch.nn.Linear(7, 5), folder / "x.safetensors", "classifier", {"a": 1}, list(NAMES))
    return folder / "x.safetensors"


def _model_content(path: Path) -> Any:
    tensors, settings, classes = read_model(path, "classifier")
    return _plain(tensors), settings, classes


def _plain(tensors: dict[str, torch.Tensor]) -> Any:
    return {n: (str(t.dtype), t.shape, bytes(t.contiguous().view(torch.uint8).numpy())) for n, t in tensors.items()}


TENSORS = {"layer.weight": torch.arange(60.0).reshape(5, 12), "layer.bias": torch.arange(5.0)}


def _weights(suffix: str, folder: Path) -> Path:
    path = folder / f"x{suffix}"
    save_file(TENSORS, path) if suffix == ".safetensors" else torch.save(TENSORS, path)
    return path


def _mxnet(folder: Path) -> Path:
    data = np.array([0x112, 0, 1], "<u8").tobytes() + np.array([0xF993FAC9, 0, 2], "<u4").tobytes()
    data += np.array([3, 4], "<i8").tobytes() + np.array([1, 0, 0], "<i4").tobytes()
    data += np.arange(12, dtype="<f4").tobytes() + np.array([1, 5], "<u8").tobytes() + b"arg:w"
    (folder / "x.params").write_bytes(data)
    return folder / "x.params"


def _journal(folder: Path) -> Path:
    journal = Journal(folder / "x.part", {"kind": "labels"}, resume=False)
    for number, image_id in enumerate(IDS):
        journal.append(image_id, (1, 3, 4), bytes([number]) * 12)
    journal.close()
    return folder / "x.part"


def _journal_start(path: Path) -> Any:
    """What was written, where the records are the first of those that were: a journal may end early."""
    journal = Journal(path, {"kind": "labels"}, resume=True)
    records = list(journal.records())
    journal.close()
    honest = [(image_id, (1, 3, 4), bytes([number]) * 12) for number, image_id in enumerate(IDS)]
    return records if records != honest[: len(records)] else honest


def _progress(folder: Path) -> Path:
    path = folder / "results" / "stages" / "train_classifier" / "abc" / "progress" / "job.json"
    job = JobFile(path, "train_classifier", None)
    job.write(done=3, total=9, unit="steps", per_second=2.5, rate_unit="images", eta_seconds=4.0, losses={"a": 0.5})
    return path


def _status(path: Path) -> Any:
    from rich.console import Console

    with Path("/dev/null").open("w") as nowhere:
        Console(file=nowhere, width=150).print(render(path.parents[4], 150))


def _manifest(folder: Path) -> Path:
    Manifest("infer_cam", {"a": 1.5}, "c0de", {"model": "ab"}, {"file": "cd"}).write(folder)
    return folder / "manifest.json"


def _contents(folder: Path) -> Path:
    _saved(folder / "data.bin", "content")
    entry = [7, 1, 2, 3, "0" * 64]
    return _saved(folder / "x.json", json.dumps({str(folder / "data.bin"): entry, str(folder / "b"): entry}))


def _table(name: str, folder: Path) -> Path:
    picture(1, SIZE).save(folder / "a.png")
    row = {"image_id": "a", "image": "a.png", "mask": "", "labels": "cat;dog", "split": "train", "measured": "0"}
    write_index(folder, "tiny", list(NAMES), voc_palette(), [row, row | {"image_id": "b", "split": "val"}])
    return folder / name


def _records(path: Path) -> Any:
    dataset = Dataset(path.parent)
    return dataset.name, dataset.class_names, dataset.palette.tolist(), [str(r) for r in dataset.records]


def _source(kind: str, name: str, make: Callable[..., dict], folder: Path) -> Path:
    """A data set, whose settings lie beside it."""
    settings = make(folder / kind) if make in (make_coco, make_folder) else make(folder / kind, ["cat", "dog"])
    _saved(folder / "settings.json", json.dumps(settings | ({"labels": "annotations"} if kind == "voc" else {})))
    return folder / kind / name


def _indexed(kind: str, path: Path) -> Any:
    folder = next(parent for parent in path.parents if (parent / "settings.json").is_file())
    source = SOURCES[kind].Settings(**json.loads((folder / "settings.json").read_text()))
    preflight = Preflight()
    names, _, rows = source.load()(source, folder / "out", 1, preflight)
    return names, rows, check_rows(names, rows), list(preflight.remarks(names, rows))


def _saved(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _csv(text: str, folder: Path) -> Path:
    return _saved(folder / "x.csv", text)


CSVS = {
    "CSV of lists": "image,labels\na.jpg,\"['cat', 'dog']\"\nb.jpg,['cat']\n",
    "CSV of flags": ",image,cat,dog\n0,a.jpg,1,0\n1,b.jpg,0,1\n",
    "CSV of names": "image;split;labels\nä;train;cat,dog\nb;val;cat\n",
}

FORMAT_FILES = {
    "coco": "instances.json",
    "cvat": "annotations.xml",
    "labelme": f"{IDS[0]}.json",
    "png": f"{IDS[0]}.png",
    "yolo": f"labels/{IDS[0]}.txt",
}
READABLE = [name for name, module in FORMATS.modules.items() if hasattr(module.Settings, "reader")]


def _format(name: str, folder: Path) -> Path:
    from wsss.cli.labels import export

    label = np.zeros(SIZE, np.uint8)
    label[3:9, 5:20], label[20:26, 2:7] = 1, 2
    with LabelWriter(folder / "x.h5", class_names=NAMES, palette=voc_palette()[:3]) as out:
        for image_id in IDS[:2]:
            out.add(image_id, label)
    export(folder / "x.h5", name, folder / "out")
    return folder / "out" / FORMAT_FILES[name]


def _brought(name: str, path: Path) -> Any:
    root = next(parent for parent in path.parents if parent.name == "out")
    bring(root, name, NAMES, root.parent / f"masks{time.monotonic_ns()}", lambda _: SIZE)


def _list(folder: Path) -> Path:
    for name in "abc":
        picture(1).save(folder / f"{name}.png")
    return _saved(folder / "x.txt", "a.png\nb.png\nc.png\n")


def _palette_mask(folder: Path) -> Path:
    image = Image.fromarray((np.arange(1200) % 3).astype(np.uint8).reshape(SIZE))
    image.putpalette(voc_palette().tobytes())
    image.save(folder / "x.png")
    return folder / "x.png"


def _photo(suffix: str, folder: Path) -> Path:
    picture(1, SIZE).save(folder / f"x{suffix}")
    return folder / f"x{suffix}"


def _config(folder: Path) -> Path:
    run = {"preset": "shapes", "prepare_data": {"dataset": "shapes", "train": 8, "val": 4}}
    return _saved(folder / "config.yaml", yaml.safe_dump({"runs": {"tiny": run}, "execution": {"shards": 2}}))


def _configured(path: Path) -> Any:
    from wsss.config.loading import read_config

    list(configurations(path.parent))
    content = read_config(path)
    runs = all_runs(content)
    return load_execution(content), [load_run(name, runs) for name in runs]


def _run(name: str, folder: Path) -> Path:
    """A run of two steps as its report reads it."""
    evaluate, data = folder / "evaluate", folder / "prepare_data"
    steps = [
        {"label": "prepare_data", "stage": "prepare_data", "upstream": {}},
        {"label": "evaluate", "stage": "evaluate", "upstream": {"cam-train": "prepare_data", "threshold": "evaluate"}},
    ]
    _saved(folder / "run.json", json.dumps({"run": "tiny", "published": {}, "steps": steps}))
    _saved(evaluate / "config.yaml", "rows:\n- {stage: cam, split: train, file: train.h5, threshold: 0.3}\n")
    _saved(evaluate / "threshold.json", json.dumps({"threshold": 0.3, "source": "fixed"}))
    _saved(evaluate / "timing" / "evaluate.json", json.dumps({"seconds": 1.5, "device": "cpu"}))
    _saved(evaluate / "history.csv", "step,loss,lr\n1,0.5,0.1\n2,0.25,0.05\n")
    curve = {"stage": ["cam"] * 3, "split": ["train"] * 3, "threshold": [0.1, 0.2, 0.3], "miou": [10.0, 20.0, 15.0]}
    pd.DataFrame(curve).to_csv(evaluate / "curve.csv", index=False)
    np.savez_compressed(evaluate / "confusion.npz", **{"cam-train": np.arange(12).reshape(3, 4)})
    _saved(folder / "miou.csv", "stage,split,miou\ncam,train,20.0\n")
    data.mkdir(exist_ok=True)
    return folder / name


def _results(path: Path) -> Any:
    folder = next(parent for parent in path.parents if (parent / "run.json").is_file())
    run = RunResults(folder)
    found = [(step.words, step.seconds, str(step.history)) for step in run.steps.values()]
    tables = (str(run.table), str(run.curves), {name: c.tolist() for name, c in run.confusions.items()})
    return found, tables, run.layers, run.final("train")


RUN_FILES = ("run.json", "miou.csv", "evaluate/config.yaml", "evaluate/threshold.json", "evaluate/curve.csv")
RUN_FILES += ("evaluate/confusion.npz", "evaluate/history.csv", "evaluate/timing/evaluate.json")

SOURCE_FILES: dict[str, tuple[str, str, Callable[..., dict]]] = {
    "VOC annotation": ("voc", "Annotations/a.xml", WRITE["voc"]),
    "VOC image list": ("voc", "ImageSets/Segmentation/train.txt", WRITE["voc"]),
    "VOC class names": ("voc", "classes.txt", WRITE["voc"]),
    "COCO boxes": ("coco", "annotations/instances_train2014.json", WRITE["coco"]),
    "COCO outlines": ("coco", "annotations/instances_train2014.json", make_coco),
    "folder's CSV": ("folder", "labels.csv", make_folder),
    "folder's photograph": ("folder", "photos/a.jpg", make_folder),
    "folder's mask": ("folder", "masks/a.png", make_folder),
}


def _readers() -> dict[str, Reader]:
    found = {
        "labels": Reader(_labels, _maps, sealed=True),
        "scores": Reader(_scores, _maps, sealed=True),
        "features": Reader(_features, _feature_maps, sealed=True),
        "mask proposals": Reader(_proposals, _proposal_masks, sealed=True),
        "model": Reader(_model, _model_content, sealed=True),
        "journal": Reader(_journal, _journal_start, sealed=True),
        "manifest": Reader(_manifest, lambda path: read_manifest(path.parent), sealed=True),
        "progress": Reader(_progress, _status, text=True),
        "cache of contents": Reader(_contents, lambda p: Contents(p).digest([("a", p.parent / "data.bin")], "x")),
        "mask proposals as runs": Reader(_proposal_runs, _dense, text=True),
        "list for predict": Reader(_list, lambda path: find_images([str(path)]), text=True),
        "palette mask": Reader(_palette_mask, lambda path: read_mask(path).tobytes()),
        "weights of MXNet": Reader(_mxnet, lambda path: _plain(read_state_dict(path))),
        "configuration": Reader(_config, _configured, text=True, named=False),
        "threshold": Reader(lambda f: _run("evaluate/threshold.json", f), read_threshold, text=True),
        "settings of a stage": Reader(
            lambda f: _saved(f / "x.yaml", "dataset: shapes\ntrain: 8\nval: 4\n"),
            lambda path: load_section(SECTIONS["prepare_data"], str(path)),
            text=True,
        ),
    }
    for suffix in (".pth", ".safetensors"):
        found[f"weights {suffix}"] = Reader(partial(_weights, suffix), lambda path: _plain(read_state_dict(path)))
    for suffix in (".jpg", ".png", ".tif", ".webp", ".gif", ".bmp"):
        found[f"photograph {suffix}"] = Reader(partial(_photo, suffix), lambda path: read_image(path).tobytes())
    for name, text in CSVS.items():
        found[name] = Reader(partial(_csv, text), read_labels, text=True)
    for name, (kind, file, make) in SOURCE_FILES.items():
        text = not file.endswith((".jpg", ".png"))
        found[name] = Reader(partial(_source, kind, file, make), partial(_indexed, kind), text=text, named=False)
    for name in READABLE:
        found[f"annotations of {name}"] = Reader(partial(_format, name), partial(_brought, name), text=name != "png")
    for name in ("index.csv", "dataset.json"):
        found[f"table {name}"] = Reader(partial(_table, name), _records, text=True, named=False)
    for name in RUN_FILES:
        found[f"report of {name}"] = Reader(partial(_run, name), _results, text=not name.endswith(".npz"), named=False)
    return found


READERS = _readers()
