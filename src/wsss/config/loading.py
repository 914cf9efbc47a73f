"""Reading of a run's configuration: presets, overrides, and validation with messages that say what to change."""

from __future__ import annotations

import os
import re
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from wsss.config.labelling import policy_of
from wsss.config.messages import nearest, shortened
from wsss.config.run import Execution, Run
from wsss.config.sections import network_family
from wsss.runtime.ending import one_line
from wsss.runtime.files import regular
from wsss.runtime.plain_yaml import read_yaml
from wsss.runtime.targets import fold

WORKFLOW = (Path(__file__).parents[1] / "workflow").resolve()
"""Folder of the Snakefile, rules, presets and profiles: part of the package; in a clone, a link to `workflow/`."""
PRESETS = WORKFLOW / "presets"
NAME_BYTES = 100
"""Largest length of a run's name in bytes, as it is a part of longer file names."""
_TOP_LEVEL = ("runs", "execution", "compare", "tables")
_MOVED = {
    "execution": "is one top-level section of the configuration now, for all runs: execution: {…}",
    "infer_cam.threshold": "is the section choose_threshold now, e.g. choose_threshold: oracle, or auto, or 0.26",
    "train_affinity.labels": "is the section make_affinity_labels now: {method: …, …}",
    "train_segmentation.upper_bound": "is a setting of the run now: upper_bound: true",
}
"""Settings of earlier versions → their replacements."""
_NO_MAPPING = ("model_type", "model_attributes_type", "dict_type")
"""pydantic's error types for a value in the place of a section."""


class ConfigError(ValueError):
    """Mistakes in the configuration; the text has one line for each."""


def read_config(path: Path) -> dict[str, Any]:
    """The content of a configuration file; {} of an empty one.

    Raises:
        ConfigError: not YAML, or no mapping.
        OSError: the file cannot be opened.
    """
    try:
        text = regular(path).read_text(encoding="utf-8")
        content = read_yaml(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML that is accepted ({error})") from None
    if not isinstance(content, dict | None):
        raise ConfigError(f"{path}: a mapping is needed, e.g. runs: {{shapes: {{preset: shapes}}}}")
    return content or {}


def all_runs(config: Mapping[str, Any]) -> dict[str, Any]:
    """The `runs` section of a configuration file.

    Raises:
        ConfigError: another top-level key, or no runs.
    """
    for key in config:
        if key not in _TOP_LEVEL:
            raise ConfigError(f"{key}: unknown key{nearest(key, _TOP_LEVEL)}; accepted: {', '.join(_TOP_LEVEL)}")
    runs = config.get("runs", {} if config.get("tables") else None)
    if not isinstance(runs, Mapping) or not (runs or config.get("tables")):
        raise ConfigError("runs: a mapping of run names to settings is needed, e.g. runs: {shapes: {preset: shapes}}")
    seen: dict[str, str] = {}  # their folders would be one on many file systems
    for name in runs:
        if not isinstance(name, str):
            raise ConfigError(f"runs: to YAML the name {name} is no text; write it in quotes, e.g. '{name}'")
        if problem := name_problem(name):
            raise ConfigError(f"runs.{one_line(name)}: {problem}")
        if (other := seen.setdefault(fold(name), name)) != name:
            raise ConfigError(f"runs.{name}: differs from '{other}' only in case or Unicode form; give it another name")
    return dict(runs)


def name_problem(name: str) -> str | None:
    """The reason why a text cannot be a run's name, a folder and part of commands; None if it can."""
    taken = ("stages", "tables", "compare.html")
    if not re.fullmatch(r"[\w.+][\w.+-]*", name) or not name.strip(".") or name.lower() in taken:
        return f"letters, digits and . _ + - make a run's name, not - first; and not {', '.join(taken)}"
    size = len(os.fsencode(name))
    return f"{size} bytes; a run's name has at most {NAME_BYTES}" if size > NAME_BYTES else None


def compared_runs(config: Mapping[str, Any]) -> list[str]:
    """The runs named in `compare`: a list, or names joined by commas.

    Raises:
        ConfigError: it names no runs of the configuration, or one twice.
    """
    given, runs = config.get("compare") or [], config.get("runs") or {}
    names = [name.strip() for name in given.split(",")] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"compare: {shortened(given)}; accepted are names of runs, joined by commas or as a list, in quotes where "
            "YAML would take them for numbers"
        )
    for name in names:
        if name not in runs:
            raise ConfigError(f"compare: no run '{name:.80}'{nearest(name, runs)}; runs: {', '.join(runs)}")
        if names.count(name) > 1:
            raise ConfigError(f"compare: run '{name}' occurs twice")
    return names


def load_run(name: str, runs: Mapping[str, Any], presets: Path = PRESETS, section: str = "runs") -> Run:
    """The run `name` of a section (`runs` unless given): its presets in order, then its own settings on top.

    Raises:
        ConfigError: unknown run, preset or key, or a value of the wrong kind.
    """
    if name not in runs:
        raise ConfigError(f"no run '{name}' is configured{nearest(name, runs)}; runs: {', '.join(runs)}")
    where = f"{section}.{name}"
    if not isinstance(runs[name], Mapping):
        found = shortened(runs[name])
        raise ConfigError(f"{where}: a mapping of settings is needed, e.g. {{preset: shapes}}; found {found}")
    own = dict(runs[name])
    settings = _at_home(_layered(own, where, presets, ()))
    try:
        return Run.model_validate(settings)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, where))) from None


def load_execution(config: Mapping[str, Any]) -> Execution:
    """The section `execution`.

    Raises:
        ConfigError: an unknown key, or a value of the wrong kind.
    """
    try:
        given = config.get("execution")
        return Execution.model_validate({} if given is None else given)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, "execution", Execution))) from None


def load_section(section: Any, text: str) -> Any:
    """A stage's section, from JSON or YAML text, or from the path of such a file.

    section: a pydantic model, or a union of models.

    Raises:
        ConfigError: not YAML, or not such a section.
    """
    is_text = text.lstrip().startswith("{") or not os.path.lexists(text)
    where = "--config" if is_text else text
    try:
        content = read_yaml(text if is_text else regular(Path(text)).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{where}: not YAML: {str(error).removeprefix(f'{where}: ')}") from None
    return checked_section(section, content, where if is_text else f"{where}:")


def checked_section(section: Any, content: Any, where: str) -> Any:
    """A section, or a union of sections, from content that was read. where: prefix of the keys in messages.

    Raises:
        ConfigError: not such a section; one line for each mistake.
    """
    try:
        return TypeAdapter(section).validate_python(content)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, where, section))) from None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` updated by `over`: mappings are merged, everything else is replaced.

    Settings that belong to a replaced choice are dropped. A mapping with another `method` or `dataset` replaces its
    base whole, and so does a `method` with another name. Another `architecture` drops the base's `options` and
    `stages`; another network drops its `checkpoint`, and its `options` unless both are of one family
    (`network_family`). Another `policy` drops the values of the base's policy.
    """
    if any(isinstance(over.get(tag), str) and over[tag] != base.get(tag, over[tag]) for tag in ("method", "dataset")):
        return dict(over)
    dropped = set()
    if over.get("architecture", base.get("architecture")) != base.get("architecture"):
        dropped = {"options", "stages"}
    elif "name" in base and over.get("name", base["name"]) != base["name"]:
        same = network_family(str(over["name"])) == network_family(str(base["name"]))
        dropped = {"checkpoint"} if same else {"checkpoint", "options"}
    elif over.get("policy", base.get("policy")) != base.get("policy"):
        dropped = {"value", "highest"}
    merged = {key: value for key, value in base.items() if key not in dropped}
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        if both and key == "method" and value.get("name", merged[key].get("name")) != merged[key].get("name"):
            both = False
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _layered(settings: Mapping[str, Any], where: str, presets: Path, chain: tuple[str, ...]) -> dict[str, Any]:
    """Settings on top of the presets that they name, recursively. chain: names of the presets being resolved."""
    layers = settings.get("preset", [])
    base: dict[str, Any] = {}
    for preset in map(str, layers if isinstance(layers, list) else [layers]):
        if preset in chain:
            raise ConfigError(f"{where}.preset: presets name each other in a circle: {' → '.join([*chain, preset])}")
        base = merge(base, _layered(_read_preset(preset, where, presets), where, presets, (*chain, preset)))
    own = {key: policy_of(value) if key == "choose_threshold" else value for key, value in settings.items()}
    return merge(base, {key: value for key, value in own.items() if key != "preset"})


def _at_home(value: Any) -> Any:
    """A value with `~/` at the beginning of its texts, at any depth, replaced by the home folder, as a shell does."""
    if isinstance(value, str):
        return os.path.expanduser(value) if value.startswith("~/") else value  # noqa: PTH111
    if isinstance(value, Mapping):
        return {key: _at_home(below) for key, below in value.items()}
    return [_at_home(below) for below in value] if isinstance(value, list) else value


def _read_preset(preset: str, where: str, presets: Path) -> dict[str, Any]:
    known = sorted(p.stem for p in presets.glob("*.yaml"))
    if preset not in known:
        raise ConfigError(
            f"{where}.preset: no preset '{preset:.80}'{nearest(preset, known)}; presets: {', '.join(known)}"
        )
    return _parsed((presets / f"{preset}.yaml").read_text(encoding="utf-8"))


@lru_cache
def _parsed(text: str) -> dict[str, Any]:
    """A preset's settings, not to be changed; reading takes 10 ms, and a table names its preset 40 times."""
    return read_yaml(text) or {}


def _explain(error: ValidationError, prefix: str, model: Any = Run) -> Iterator[str]:
    """One line per error: the key's path, the value found, the values accepted."""
    for item in error.errors():
        keys, fields = _walk(model, item["loc"])
        path = f"{prefix} {'.'.join(keys)}".rstrip() if prefix.endswith(":") else ".".join([prefix, *keys])
        path = path.removesuffix(":")
        if moved := _MOVED.get(".".join(keys)):
            yield f"{path}: {moved}"
        elif item["type"] == "extra_forbidden":
            yield f"{path}: unknown key{nearest(keys[-1], fields)}; accepted: {', '.join(fields)}"
        elif item["type"] == "missing":
            yield f"{path}: required, but not given"
        elif item["type"] == "value_error":
            yield f"{path}: {item['ctx']['error']}"
        elif item["type"] == "union_tag_not_found":
            tag = item["ctx"]["discriminator"].strip("'")
            yield f"{path}.{tag}: required, but not given"
        elif item["type"] in _NO_MAPPING:
            yield f"{path}: a mapping of settings is needed; found {shortened(item['input'])}"
        else:
            yield f"{path}: {item['msg'][0].lower() + item['msg'][1:]}; found {shortened(item['input'])}"


def _walk(model: Any, loc: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """The keys of a pydantic error location without its union tags, and the fields accepted beside the last key."""
    keys: list[str] = []
    fields: list[str] = []
    candidates = models_in(model)
    free = 0  # levels of a mapping whose keys are the user's
    for part in loc:
        tagged = [m for m in candidates if _tag(m) == part]
        if tagged and all(part not in m.model_fields for m in candidates):
            candidates = tagged
            continue
        if isinstance(part, str) and not candidates and not free:
            continue  # pydantic's name for a member of a union of plain values
        keys.append(str(part))
        fields = [name for m in candidates for name in m.model_fields]
        annotations = [m.model_fields[part].annotation for m in candidates if part in m.model_fields]
        free = max(map(_levels, annotations)) if annotations else max(free - 1, 0)
        candidates = [m for a in annotations for m in models_in(a)]
    return keys, list(dict.fromkeys(fields))


def _levels(annotation: Any) -> int:
    """Nested mappings of an annotation, e.g. 1 of dict[str, list[str]] | None."""
    inner = max((_levels(a) for a in get_args(annotation)), default=0)
    return inner + (get_origin(annotation) is dict)


def _tag(model: type[BaseModel]) -> Any:
    """The value that selects this model in a union: its required Literal with one value."""
    for field in model.model_fields.values():
        if field.is_required() and len(get_args(field.annotation)) == 1:
            return get_args(field.annotation)[0]
    return None


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every model class inside an annotation such as `A | B | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is None and not isinstance(annotation, types.UnionType):
        return []
    return [m for a in get_args(annotation) for m in models_in(a)]
