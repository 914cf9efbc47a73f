"""How alike a transformer's tokens are, block by block: `python -m benchmarks.similarity results/kit-toco*`.

Over-smoothed tokens are alike wherever they lie; ToCo's patch-token contrast (Ru 2023, §3.2) keeps the last ones apart.
Writes `similarity.csv` and `similarity.png` to the first run's folder, of validation images at their own size.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.data.augment import to_input
from wsss.data.dataset import Dataset, Record, read_image
from wsss.methods.base import Method
from wsss.methods.load import load_classifier

IMAGES = 50


def mean_similarity(tokens: Tensor) -> float:
    """Mean |cos| over all pairs of different tokens, in [0, 1]. tokens: (N, D), N ≥ 2."""
    unit = F.normalize(tokens, dim=1)
    count = len(tokens)
    return float(((unit @ unit.T).abs().sum() - count) / (count * (count - 1)))


@torch.no_grad()
def block_similarity(model: Method, records: Sequence[Record]) -> list[float]:
    """Mean similarity of the patch tokens after every block, before any final norm; then after the final norm."""
    backbone = model.backbone
    depth = len(backbone.net.blocks)
    sums = [0.0] * (depth + 1)
    for record in records:
        image = to_input(read_image(record.image), backbone.mean, backbone.std)[None]
        tokens = backbone.tokens(image, blocks=list(range(depth)))
        outputs = [*(tokens.blocks[index] for index in range(depth)), tokens.final]
        for index, output in enumerate(outputs):
            sums[index] += mean_similarity(output[0, tokens.num_prefix :]) / len(records)
    return sums


def measure(runs: Sequence[Path], images: int) -> pd.DataFrame:
    """A row for each block and `final`, a column for each run.

    Raises:
        ValueError: a run without a classifier.
    """
    columns = {}
    for run in runs:
        if not (run / "train_classifier" / "model.safetensors").is_file():
            raise ValueError(f"{run}: no train_classifier/model.safetensors there")
        model = load_classifier(run / "train_classifier" / "model.safetensors")
        columns[run.name] = block_similarity(model, Dataset(run / "prepare_data").split("val")[:images])
    rows = [*map(str, range(1, len(next(iter(columns.values()))))), "final"]
    return pd.DataFrame(columns, index=pd.Index(rows, name="block"))


def draw(frame: pd.DataFrame, path: Path) -> None:
    """A line for each run over the blocks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for name in frame:
        axes.plot(frame.index, frame[name], marker="o", label=name)
    axes.set(xlabel="block", ylabel="mean |cos| of pairs of tokens", ylim=(0, 1))
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="results/{run} of methods on a vision transformer")
    parser.add_argument("--images", type=int, default=IMAGES, help="of val")
    args = parser.parse_args()
    try:
        frame = measure(args.runs, args.images)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    frame.to_csv(args.runs[0] / "similarity.csv", float_format="%.4f")
    draw(frame, args.runs[0] / "similarity.png")
    print(frame.round(3).to_string())


if __name__ == "__main__":
    main()
