"""Outlook on a published system (requirements, published numbers, differences) and its run: `wsss reproduce seam`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from wsss.config.common import settings_below
from wsss.config.loading import PRESETS, load_run, merge, read_config
from wsss.config.outside import BY_HAND, OutsideFile
from wsss.config.sections import Backbone
from wsss.config.weights import KnownWeights, known_weights
from wsss.plan.checks import named
from wsss.plan.forecast import forecast, gpu
from wsss.plan.published import NO_SETTING, System, as_text, cited, system, systems, tables
from wsss.plan.run import Plan, missing_inputs, plan_run
from wsss.runtime.ending import plain_ending
from wsss.runtime.files import regular, write_atomically
from wsss.runtime.plain_yaml import read_yaml
from wsss.runtime.targets import a_path, require_folder

CONFIGS = Path("results/reproduce")
"""Folder of the configurations written by this command."""
_BETWEEN = re.compile(r"(<!-- tables: begin -->\n).*(<!-- tables: end -->)", re.S)


def with_tables(text: str, presets: Path = PRESETS) -> str:
    """The page with the tables of every published system between its two marks.

    Raises:
        ValueError: the page does not have the marks.
    """
    if not _BETWEEN.search(text):
        raise ValueError("no lines <!-- tables: begin --> and <!-- tables: end --> in that order")
    made = tables(presets)
    return _BETWEEN.sub(lambda found: f"{found[1]}\n{made}\n{found[2]}", text)


def changed(settings: dict[str, Any], given: Sequence[str]) -> dict[str, Any]:
    """Settings of a run, updated by `section.key=VALUE` texts.

    Raises:
        ValueError: a text has another form.
    """
    for text in given:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise ValueError(f"--set '{text}'; accepted: KEY=VALUE, e.g. prepare_data.root=/data/VOC2012")
        with named(f"--set '{text}'"):
            layer: Any = read_yaml(value)
        for key in reversed(path.split(".")):
            layer = {key: layer}
        settings = merge(settings, layer)
    return settings


def outlook(entry: System, plan: Plan) -> Iterator[str]:
    """Lines on a planned run: data, weights, steps, rows, and differences from the published settings."""
    yield f"{entry.of}: preset {' + '.join(entry.presets)}"
    yield from ("", "Data", *_data(plan))
    yield from ("", "Weights", *_weights(plan))
    yield from ("", f"Steps, with hours on {gpu()}", *_steps(plan, entry))
    yield from ("", "Rows of miou.csv and the mIoU published for them, in percent (–: none)", *_rows(plan, entry))
    yield from ("", "Different from what was published (docs/methods.md has all values)")
    yield from _differences(plan, entry)


def _data(plan: Plan) -> Iterator[str]:
    source = plan.settings.prepare_data
    yield f"  {source.about.title}"
    for key, value in source.model_dump(mode="json").items():
        if key.endswith(("list", "part", "root")) or key in ("labels", "measured"):
            yield f"  {key}: {as_text(value)}"
    missing = source.missing()
    yield f"  {'there' if missing is None else f'NOT THERE: {missing}'}"


def _weights(plan: Plan) -> Iterator[str]:
    """For each weight file a line on its availability and one on the settings that use it."""
    users: dict[str, list[str]] = {}
    for step in plan.steps:
        for key, file in step.files.items():
            users.setdefault(_weight(file), []).append(f"{step.stage}.{key}")
        for key, backbone in settings_below(step.settings, Backbone):
            if backbone.checkpoint is None and backbone.pretrained:
                line = f"{backbone.name}: timm downloads it unless its cache has it"
                users.setdefault(line, []).append(f"{step.stage}.{key}")
    for line, keys in users.items():
        yield f"  {line}"
        yield f"    for {', '.join(keys)}"


def _weight(file: OutsideFile) -> str:
    by_hand = {BY_HAND / known.file: known for known in known_weights().values()}
    known = file.known or by_hand.get(file.path)
    about = f" ({known.holds}; {_size(known)}licence: {known.licence})" if known else ""
    if file.path.is_file():
        return f"{file}: there, {file.path}{about}"
    if file.address and file.stated_sha256:
        return f"{file}: downloaded at the start{about}"
    return f"{file}: NOT THERE{about}; {f'get it by hand: {known.where}; put it at ' if known else ''}{file.path}"


def _size(known: KnownWeights) -> str:
    return f"{known.megabytes} MB; " if known.megabytes else ""


def _steps(plan: Plan, entry: System) -> Iterator[str]:
    found = list(forecast(plan, entry.dataset))
    for step in found:
        hours = [f"{step.gpu_hours:.1f} h" if step.gpu_hours >= 0.05 else "", _cores(step.core_hours)]
        parts = [step.what, "about " + " and ".join(filter(None, hours)) if any(hours) else ""]
        yield f"  {step.label:28} {', '.join(filter(None, parts))}".rstrip()
    total, cores = sum(step.gpu_hours for step in found), sum(step.core_hours for step in found)
    yield f"  {'altogether':28} about {total:.1f} h of the GPU and {_cores(cores) or 'little'} of the CPU"


def _cores(hours: float) -> str:
    return f"{hours:.1f} core hours" if hours >= 0.05 else ""


def _rows(plan: Plan, entry: System) -> Iterator[str]:
    rows = [f"{row.stage}-{row.split}" for row in plan.step("evaluate").settings.rows]
    for row in rows:
        number, source = entry.results.get(row, (None, ""))
        yield f"  {row:28} {'–' if number is None else f'{number:g} ({cited(source)})'}"
    for row in entry.results.keys() - set(rows):
        yield f"  {row:28} {entry.results[row][0]:g} is published, but this run measures no such row"


def _differences(plan: Plan, entry: System) -> Iterator[str]:
    found = list(entry.compare(plan.settings))
    for difference in found:
        if not difference.equal:
            ours = "" if difference.ours == NO_SETTING else f"{as_text(difference.ours)}; "
            why = difference.why or "as you set it"
            yield f"  {difference.setting}: published {as_text(difference.published)}; here {ours}{why}"
    yield f"  {sum(difference.equal for difference in found)} of {len(found)} values are as published"


def reproduce(
    name: str, given: Sequence[str], cores: str, presets: Path = PRESETS, *, force: bool = False
) -> list[str]:
    """Prints the outlook on a run, writes its configuration, and returns the command that makes its table.

    force: overwrite a configuration with other settings.

    Raises:
        ValueError: unknown system, invalid settings, or a configuration with other settings exists.
    """
    entry = system(name)
    settings = changed(entry.settings, given)
    plan = plan_run(name, load_run(name, {name: settings}, presets))
    config, content = CONFIGS / f"{name}.yaml", {"runs": {name: settings}}
    _require_place(config, content, force=force)
    print("\n".join(outlook(entry, plan)))
    if not config.exists() or force:
        write_atomically(config, yaml.safe_dump(content, sort_keys=False))
    if problem := missing_inputs(plan):
        print(f"\nIt cannot start yet: {problem}")
    targets = [f"results/{name}/miou.csv", f"results/{name}/report.html"]
    return ["snakemake", "--cores", cores, "--configfile", str(config), "--", *targets]


def _require_place(config: Path, content: dict[str, Any], *, force: bool) -> None:
    """Raises ValueError unless the configuration can be written, or exists with the same content."""
    require_folder(config.parent)
    if config.exists() and not force and read_config(config) != content:
        raise ValueError(f"{config}: exists with other settings; --force overwrites it, or start snakemake with it")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(systems())}")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other settings of the run, on top")
    parser.add_argument("--cores", default="all", help="CPU cores (default: all)")
    parser.add_argument("--force", action="store_true", help="replace a configuration that has other settings")
    parser.add_argument("--go", action="store_true", help="run the command after it is printed")
    parser.add_argument("--tables", type=a_path, metavar="PAGE", help="write every system's table into a Markdown page")
    args = parser.parse_args()
    if (args.name is None) == (args.tables is None):
        parser.error(f"give a system, one of {', '.join(systems())}, or --tables PAGE")
    with plain_ending("reproduce"):
        if not (args.cores == "all" or (args.cores.isdecimal() and int(args.cores) > 0)):
            raise ValueError(f"--cores '{args.cores}'; accepted: all, or 1 or more")
        if args.tables is not None:
            with named(str(args.tables)):
                page = with_tables(regular(args.tables).read_text(encoding="utf-8"))
            write_atomically(args.tables, page)
            return
        command = reproduce(args.name, args.set, args.cores, force=args.force)
        print(f"\n{shlex.join(command)}", flush=True)
        if args.go:
            os.execv(sys.executable, [sys.executable, "-m", *command])  # signals are for snakemake, which ends its jobs


if __name__ == "__main__":
    main()
