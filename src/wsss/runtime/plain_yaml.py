"""Strict YAML and JSON: no repeated keys, no octal or sexagesimal numbers, no recursive or immense aliases."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from typing import Any

import yaml

LARGEST = 1_000_000
"""Largest number of values in a file, with every use of an alias counted."""
_TAG = "tag:yaml.org,2002:"
_OTHER_BASE = re.compile(r"[-+]?(0[0-7_]*[1-7][0-7_]*|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")


class _Loader(yaml.SafeLoader):
    """Rejects constructs that YAML 1.1 accepts silently and that are never intended."""

    def construct_document(self, node: yaml.Node) -> Any:
        _Check().size(node)
        return super().construct_document(node)


def _joined(_loader: _Loader, node: yaml.ScalarNode) -> str:
    """A text, in which JSON's pairs of escapes of one character are joined."""
    return node.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


_Loader.add_constructor(f"{_TAG}str", _joined)


def read_yaml(text: str | bytes) -> Any:
    """The content of a YAML or JSON text.

    JSON is read as such, because its 1e-05 is a text to YAML 1.1.

    Raises:
        ValueError: neither, a repeated key, an octal or sexagesimal number, or a recursive or immense alias; one line.
    """
    with suppress(ValueError, RecursionError):  # also of a repeated key, whose line YAML names
        return read_json(text)
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{', '.join(filter(None, (error.context, error.problem)))}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def read_json(text: str | bytes) -> Any:
    """The content of a JSON text.

    Raises:
        ValueError: not JSON, or a repeated key, of which readers take one or the other.
        RecursionError: too many lists in lists.
    """
    return json.loads(text, object_pairs_hook=_mapping)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(content := dict(pairs)) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key '{key:.40}' is repeated")
    return content


class _Check:
    """Checks each node once, before anything is constructed from it."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def size(self, node: yaml.Node) -> int:
        """Number of values of a node; raises an error of PyYAML, which `read_yaml` converts to one line."""
        if id(node) in self._open:
            raise _wrong(node, "a part that holds itself")
        if id(node) not in self._sizes:
            self._open.add(id(node))
            _check_number(node)
            _check_keys(node)
            self._sizes[id(node)] = 1 + sum(self.size(child) for child in _children(node))
            self._open.remove(id(node))
        if self._sizes[id(node)] > LARGEST:
            raise _wrong(node, f"more than {LARGEST:,} values")
        return self._sizes[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_keys(node: yaml.Node) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != f"{_TAG}merge":
            name = key.tag, key.value
            if name in lines:
                raise _wrong(key, f"the key '{key.value}' is repeated after line {lines[name]}")
            lines[name] = key.start_mark.line + 1


def _check_number(node: yaml.Node) -> None:
    if node.tag in (f"{_TAG}int", f"{_TAG}float") and _OTHER_BASE.fullmatch(node.value):
        raise _wrong(node, f"{node.value} is another number to YAML; write it in plain digits, or a text in quotes")


def _wrong(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
