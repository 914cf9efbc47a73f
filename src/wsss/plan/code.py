"""A digest of the code that a stage runs: changes with an algorithm, not with a comment or a docstring."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib import util
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from wsss.plan.beside import data_beside
from wsss.plan.syntax import digest_of, named_by, names_of, plain_tree, statements, words_of

_DO_NOT_COMPUTE = ("wsss.plan", "wsss.config.loading", "wsss.config.messages", "wsss.config.hints",
                   "wsss.config.outside", "wsss.config.registry", "wsss.config.weights", "wsss.runtime.progress",
                   "wsss.runtime.process", "wsss.runtime.files", "wsss.runtime.locks", "wsss.runtime.compiler",
                   "wsss.stages.common", "wsss.training.board")  # fmt: skip
"""Messages, bookkeeping, and outside files, which count by their content."""
_PATH = re.compile(r"'(\w+(?:\.\w+)+)(?::\w+)?'")
"""A module in a string, as for `import_module`, alone or with one of its objects: `module:object`."""


def code_digest(*modules: str) -> str:
    """16 hex digits over the code of `modules` and of every module of their packages that they import, transitively.

    Of other modules of settings, whose values are in the keys, the functions and constants count that the code names.
    Data and compiled code beside the modules count, too.
    """
    found = closure(modules)
    whole = sorted(name for name in found if name in modules or not _is_settings(name))
    settings = (_tree(name) for name in sorted(found.difference(whole)))
    lines = [f"{name}:{_module_digest(name)}" for name in whole]
    lines += named_by(set().union(*(names_of(_tree(name)) for name in whole)), settings)
    lines += [f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in data_beside(_folders(whole))]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()[:16]


def _folders(modules: Iterable[str]) -> set[Path]:
    """The folders of modules, without those of modules outside of packages, where anything may lie."""
    files = ((name, _source(name)) for name in modules)
    return {file.parent for name, file in files if "." in name or file.name == "__init__.py"}


def closure(modules: Sequence[str]) -> set[str]:
    """The given modules and all modules that they import, transitively, within wsss and their own packages."""
    roots = {"wsss", *(name.split(".")[0] for name in modules)}
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name not in seen and not _is_bookkeeping(name) and _source(name) is not None:
            seen.add(name)
            queue.extend(n for n in _imports(name) if n.split(".")[0] in roots)
    return seen


def _is_bookkeeping(name: str) -> bool:
    return name == "wsss" or any(name == n or name.startswith(f"{n}.") for n in _DO_NOT_COMPUTE)


def _is_settings(name: str) -> bool:
    return name.endswith(".settings") or name.startswith("wsss.config.") or name == "wsss.config"


@functools.cache
def _source(name: str) -> Path | None:
    """The file of a module, found without importing it; None for one that is not written in Python."""
    spec = _spec(name)
    return Path(spec.origin) if spec and spec.has_location and spec.origin.endswith(".py") else None


@functools.cache
def _spec(name: str) -> ModuleSpec | None:
    parent, _, _ = name.rpartition(".")
    if not parent:
        return util.find_spec(name)
    places = (found := _spec(parent)) and found.submodule_search_locations
    return PathFinder.find_spec(name, places) if places else None


@functools.cache
def _tree(name: str) -> ast.Module:
    return plain_tree(_source(name).read_text(encoding="utf-8"))


@functools.cache
def _imports(name: str) -> list[str]:
    """The modules that a module imports or, outside of settings, names in a string, and their parent packages."""
    found = [] if _is_settings(name) else [m[1] for word in words_of(_tree(name)) if (m := _PATH.fullmatch(word))]
    for node in statements(_tree(name), run_time=True):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(name, node)
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    parents = {n.rsplit(".", depth)[0] for n in found for depth in range(1, n.count(".") + 1)}
    return sorted({*found, *parents})


def _absolute(name: str, node: ast.ImportFrom) -> str:
    """The absolute name of an imported module."""
    if not node.level:
        return node.module or ""
    package = name.split(".") if _source(name).name == "__init__.py" else name.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


@functools.cache
def _module_digest(name: str) -> str:
    return digest_of(words_of(_tree(name)))


@functools.cache
def source_digest(*packages: str) -> str:
    """Digest of the bytes of all Python files of packages: if it is as planned, so is every digest of code."""
    whole = hashlib.sha256()
    for package in packages:
        for place in util.find_spec(package).submodule_search_locations or ():
            for path in sorted(Path(place).rglob("*.py")):
                whole.update(f"{path.relative_to(place)}\0".encode() + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]
