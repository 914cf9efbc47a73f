"""Times wsss against the published algorithms written plainly, on the same inputs in the same run.

    python -m benchmarks                    # all, on the CPU; writes benchmarks/results.csv
    python -m benchmarks walks crfs         # some; prints only
    python -m benchmarks --device cuda      # the GPU against the CPU; writes benchmarks/gpu.csv

Photographs come from the VOC kit that the environment variable WSSS_KIT names, else they are generated.
"""

from __future__ import annotations

import argparse
import csv
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.inputs import kit
from benchmarks.measure import Case, Measurement, measure_apart

MODULES = ("walks", "curves", "stores", "refinement", "cams", "crfs", "steps")
FOLDER = Path(__file__).parent
COLUMNS = (
    "work",
    "size",
    "device",
    "plain_seconds",
    "seconds",
    "ratio",
    "ratio_wanted",
    "plain_megabytes",
    "megabytes",
    "megabytes_wanted",
    "nanoseconds_per_pixel",
    "difference",
    "difference_wanted",
    "note",
    "holds",
)


def run(case: Case, device: str) -> dict[str, Any]:
    """Both ways of a case; with a GPU, the plain way is the same on the CPU."""
    ours = measure_apart(case.ours, device)
    plain = measure_apart(case.plain, "cpu") if case.plain else None
    line: dict[str, Any] = {
        "work": case.work,
        "size": case.size,
        "device": device,
        "seconds": f"{ours.seconds:.4g}",
        "megabytes": f"{ours.megabytes:.0f}",
        "nanoseconds_per_pixel": f"{ours.seconds / case.pixels * 1e9:.1f}",
        "holds": "",
    }
    return line | (_comparison(case, plain, ours) if plain else {})


def _comparison(case: Case, plain: Measurement, ours: Measurement) -> dict[str, Any]:
    ratio = plain.seconds / ours.seconds
    difference = case.compare(plain.result, ours.result) if case.compare else None
    note, noted = case.note(plain.result, ours.result) if case.note else ("", True)
    most = case.megabytes or (plain.megabytes / case.memory_ratio if case.memory_ratio else None)
    checks = [
        case.faster is None or ratio >= case.faster,
        most is None or ours.megabytes <= most,
        case.difference is None or difference <= case.difference,
        noted,
    ]
    return {
        "plain_seconds": f"{plain.seconds:.4g}",
        "ratio": f"{ratio:.2f}",
        "ratio_wanted": case.faster or "",
        "plain_megabytes": f"{plain.megabytes:.0f}",
        "megabytes_wanted": f"{most:.0f}" if most else "",
        "difference": "" if difference is None else f"{difference:.1e}",
        "difference_wanted": "" if case.difference is None else f"{case.difference:.1e}",
        "note": note,
        "holds": "yes" if all(checks) else "no",
    }


def show(line: dict[str, Any]) -> None:
    """One line for people."""
    get = lambda name: line.get(name) or "-"  # noqa: E731
    print(
        f"{line['work']:68} {line['size']:>14} {get('plain_seconds'):>8} s → {line['seconds']:>8} s"
        f" {get('ratio'):>8}× (≥ {get('ratio_wanted')}) {get('plain_megabytes'):>6} → {line['megabytes']:>4} MB"
        f" {line['nanoseconds_per_pixel']:>8} ns/pixel  difference {get('difference')}  {line.get('note', '')}"
        f"  {line['holds']}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], help=f"of {', '.join(MODULES)}; all if none")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--smallest", action="store_true", help="only the first, smallest size of each work")
    args = parser.parse_args()
    if args.device != "cpu" and not torch.cuda.is_available():
        sys.exit(f"device '{args.device}' was asked for, but torch sees no GPU")
    name = torch.cuda.get_device_name() if args.device != "cpu" else f"{torch.get_num_threads()} CPU threads"
    print(f"torch {torch.__version__}, {name}, photographs {'of the kit' if kit() else 'generated'}", flush=True)
    lines = []
    for module in args.modules or MODULES:
        loaded = import_module(f"benchmarks.{module}")
        cases = loaded.cases if args.device == "cpu" else getattr(loaded, "gpu_cases", list)
        for case in cases():
            if args.smallest and any(case.work == line["work"] for line in lines):
                continue
            lines.append(run(case, args.device))
            show(lines[-1])
    if args.modules or args.smallest:
        return
    path = FOLDER / ("results.csv" if args.device == "cpu" else "gpu.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
