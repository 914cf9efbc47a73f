"""PAR and DenseCRF against the published algorithms written plainly: time, peak memory, greatest difference.

    python benchmarks/refine_bench.py [--device cuda] [--images 24]

Every variant runs in a process of its own, so that peaks do not mix. With `cuda`, it is compared to the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from wsss.refine.crf import CRFParams, crf_many, crf_probabilities
from wsss.refine.mean_field import mean_field
from wsss.refine.par import par

DILATIONS = (1, 2, 4, 8, 12, 24)
CAM_CRF = CRFParams(3, 3, 80, 13, 10, 10)


@dataclass
class Measurement:
    """seconds: the best repeat, after one run to warm up. megabytes: peak above what held the inputs."""

    seconds: float
    megabytes: float
    result: np.ndarray


def par_inputs(height, width, device):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, height // 8, width // 8, generator=generator) * 255
    masks = torch.rand(2, 3, height // 16, width // 16, generator=generator)
    return tuple(F.interpolate(t, (height, width), mode="bilinear").to(device) for t in (images, masks))


def neighbours(maps):
    """(B, C, 48, H, W), a copy of the map for each neighbour."""
    height, width = maps.shape[-2:]
    steps = [(d * y, d * x) for d in DILATIONS for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    padded = F.pad(maps, (24, 24, 24, 24), mode="replicate")
    views = [padded[..., 24 + y : 24 + y + height, 24 + x : 24 + x + width] for y, x in steps]
    return torch.stack(views, 2)


def plain_par(images, masks):
    """PAR with 48-neighbour tensors, as published."""
    near = neighbours(images)
    difference = (near - images[:, :, None]).abs() / (near.std(2, keepdim=True) + 1e-8) / 0.3
    diagonal = torch.tensor([2**0.5, 1, 2**0.5, 1, 1, 2**0.5, 1, 2**0.5])
    distance = torch.cat([d * diagonal for d in DILATIONS]).to(images)
    position = (-((distance / (distance.std() + 1e-8) / 0.3) ** 2)).softmax(0)
    weights = (-(difference**2)).mean(1, keepdim=True).softmax(2) + 0.01 * position[:, None, None]
    for _ in range(10):
        masks = (neighbours(masks) * weights).sum(2)
    return masks


def crf_items(height, width, count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        coarse = torch.from_numpy(rng.random((1, 7, height // 16, width // 16), dtype=np.float32))
        maps = F.interpolate(coarse, (height, width), mode="bilinear")[0].numpy()
        image = maps[:3].transpose(1, 2, 0) * 255 + rng.normal(0, 6, (height, width, 3))
        yield image.clip(0, 255).astype(np.uint8), maps[3:]


def run_plain_par(height, width, device):
    images, masks = par_inputs(height, width, device)
    return lambda: plain_par(images, masks)


def run_par(height, width, device):
    images, masks = par_inputs(height, width, device)
    return lambda: par(images, masks)


def run_mean_field(height, width, device):
    image, probs = next(crf_items(height, width, 1))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
    unary = -torch.from_numpy(probs).clamp(min=1e-5).log()[None].to(device)
    return lambda: mean_field(pixels, unary, CAM_CRF)


def run_pydensecrf(height, width, _):
    image, probs = next(crf_items(height, width, 1))
    return lambda: torch.from_numpy(crf_probabilities(image, probs, CAM_CRF, "pydensecrf"))[None]


def crf_seconds(height, width, count, workers):
    """Seconds for `count` images once `workers` processes have started, and the marginals."""
    items = list(crf_items(height, width, count + workers))
    results = crf_many(items, CAM_CRF, workers)
    started = [next(results) for _ in range(workers)]
    start = time.perf_counter()
    rest = list(results)
    return time.perf_counter() - start, np.stack(started + rest)


def resident_peak() -> float:
    """Highest resident megabytes since the last reset (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(prepare: Callable, height: int, width: int, device: str, repeats: int = 3) -> Measurement:
    """Time and peak memory of one variant, in this process."""
    work = prepare(height, width, device)
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    else:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak to what is resident now
        before = resident_peak()
    work()
    after = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else resident_peak()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return Measurement(min(times), after - before, result.cpu().numpy())


def apart(*arguments) -> Measurement:
    """`measure` in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def report(work, height, width, plain: Measurement, ours: Measurement) -> None:
    difference = np.abs(plain.result - ours.result).max()
    print(
        f"{work:34} {height:4}×{width:<4} {plain.seconds:8.3f} s → {ours.seconds:8.3f} s"
        f" {plain.seconds / ours.seconds:7.2f}×  {plain.megabytes:6.0f} → {ours.megabytes:6.0f} MB"
        f"  max difference {difference:.1e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, or cuda to compare it with the CPU")
    parser.add_argument("--images", type=int, default=24, help="images of the two-process comparison")
    args = parser.parse_args()
    device = args.device
    print(f"{torch.get_num_threads()} threads; plain → wsss" if device == "cpu" else f"CPU → {device}")
    for height, width in ((112, 112), (224, 224), (448, 448)):
        plain = run_plain_par if device == "cpu" else run_par
        report(
            "PAR, 2×3 maps, 10 iterations",
            height,
            width,
            apart(plain, height, width, "cpu"),
            apart(run_par, height, width, device),
        )
    for height, width in ((188, 250), (375, 500)):
        reference = run_pydensecrf if device == "cpu" else run_mean_field
        report(
            "CRF, 4 labels: C++ → torch" if device == "cpu" else "CRF, 4 labels, torch",
            height,
            width,
            apart(reference, height, width, "cpu"),
            apart(run_mean_field, height, width, device),
        )
    if device == "cpu":
        (one, alone), (two, together) = (crf_seconds(375, 500, args.images, workers) for workers in (1, 2))
        difference = np.abs(alone - together[: len(alone)]).max()
        print(
            f"CRF, {args.images} images, 375×500, 1 → 2 processes: {one:.2f} s → {two:.2f} s {one / two:.2f}×"
            f"  max difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
