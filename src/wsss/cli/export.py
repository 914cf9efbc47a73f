"""Exports a trained segmentation network to ONNX and checks it against PyTorch.

    wsss export --run results/x --onnx model.onnx

Input `images`: (B, 3, H, W) float32 RGB in 0..1, any B, H and W; output `logits`: (B, C, H, W). Normalisation and
padding are in the graph. Its metadata are JSON: `classes`, the names; `views`, the longest edge to which the run
shrinks images, and its scales and mirrors. At another scale the masks are worse.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from wsss.cli.helping import Paragraphs
from wsss.cli.inputs import network_of
from wsss.plan.manifest import views_of
from wsss.runtime.ending import plain_ending
from wsss.runtime.progress import log
from wsss.runtime.targets import a_path, refuse_foreign, refuse_sources
from wsss.store.about import read_about

TAIL = 1 << 20
"""Bytes at the end of an ONNX file that hold its metadata."""


def check_target(target: Path, model_file: Path) -> None:
    """Checks that the target does not exist or is a file of this command.

    Raises:
        ValueError: the target is another file.
    """
    refuse_sources([target], [model_file])
    refuse_foreign(target, _is_ours, "an ONNX file of wsss export")


def _is_ours(file: Path) -> bool:
    """Whether the metadata at a file's end name classes as this command writes them."""
    with file.open("rb") as content:
        content.seek(-min(TAIL, file.stat().st_size), os.SEEK_END)
        return b'["background"' in content.read()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Paragraphs)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=a_path, help="results/{run}")
    source.add_argument("--model", type=a_path, help="model.safetensors of train_segmentation")
    parser.add_argument("--onnx", type=a_path, required=True, help="file to write")
    args = parser.parse_args()
    logging.basicConfig(format="[export] %(message)s")
    log.setLevel(logging.INFO)
    with plain_ending("export"):
        model_file, applied = network_of(args.run) if args.run else (args.model, None)
        check_target(args.onnx, model_file)
        views = read_about(model_file).get("views")
        if applied is not None:
            views = views_of(args.run / "prepare_data", applied)
        from wsss.segmentation.onnx import SIZES, export_onnx  # imports torch, which takes seconds
        from wsss.segmentation.predictor import views_in

        settings, longest = views_in({"views": views or {}}, model_file)
        found = export_onnx(model_file, args.onnx, views)
    for size, result in zip(SIZES, found, strict=True):
        difference, share = result["difference"], 100 * result["agreement"]
        log.info("%d × 3 × %d × %d: logits differ by %.1e, %.3f %% of labels agree", *size, difference, share)
    if views:
        edge = f"longest edge at most {longest} px, then " if longest else ""
        log.info("the run's masks: %sscales %s", edge, ", ".join(f"{scale:g}" for scale in settings.scales))
    log.info("%s: %.1f MB", args.onnx, args.onnx.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
