"""A digest of the code a stage runs: changes with an algorithm, not with a comment or a docstring."""

from __future__ import annotations

import ast
import functools
import hashlib
from importlib import util
from pathlib import Path

# These carry settings, messages and bookkeeping; the settings themselves are in every stage's key.
_DO_NOT_COMPUTE = {
    "wsss",
    "wsss.config.run",
    "wsss.config.data",
    "wsss.config.common",
    "wsss.config.methods",
    "wsss.config.loading",
    "wsss.plan.run",
    "wsss.plan.tables",
    "wsss.plan.code",
    "wsss.runtime.progress",
    "wsss.runtime.process",
    "wsss.stages.common",
    "wsss.training.board",
}


def code_digest(*modules: str) -> str:
    """16 hex digits over the code of `modules` and of every wsss module they import, however deep."""
    names = sorted(_closure(modules))
    return hashlib.sha256("".join(f"{n}:{_module_digest(n)}\n" for n in names).encode()).hexdigest()[:16]


def _closure(modules: tuple[str, ...]) -> set[str]:
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name not in seen and name not in _DO_NOT_COMPUTE and _source(name) is not None:
            seen.add(name)
            queue.extend(_imports(name))
    return seen


@functools.cache
def _source(name: str) -> Path | None:
    """The file of a wsss module, in Python or C, found without importing it."""
    base = Path(util.find_spec("wsss").submodule_search_locations[0]).joinpath(*name.split(".")[1:])
    candidates = (base.with_suffix(".py"), base / "__init__.py", base.with_suffix(".c"))
    return next((path for path in candidates if path.is_file()), None)


@functools.cache
def _tree(name: str) -> ast.Module:
    tree = ast.parse(_source(name).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@functools.cache
def _imports(name: str) -> list[str]:
    if _source(name).suffix == ".c":
        return []
    found = []
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [n for n in found if n.split(".")[0] == "wsss"]


@functools.cache
def _module_digest(name: str) -> str:
    if _source(name).suffix == ".c":
        return hashlib.sha256(_source(name).read_bytes()).hexdigest()
    return hashlib.sha256(ast.dump(_tree(name)).encode()).hexdigest()
