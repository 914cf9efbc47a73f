"""A digest of the code that a stage runs: changes with an algorithm, not with a comment or a docstring."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from importlib import util
from pathlib import Path

_DO_NOT_COMPUTE = ("wsss.config", "wsss.plan", "wsss.runtime.progress", "wsss.runtime.process", "wsss.runtime.files",
                   "wsss.runtime.locks", "wsss.runtime.compiler", "wsss.stages.common",
                   "wsss.training.board")  # fmt: skip
"""Settings, messages and bookkeeping; the settings themselves are in every key."""


def code_digest(*modules: str) -> str:
    """16 hex digits over the code of `modules` and of every module of their packages that they import, transitively."""
    names = sorted(closure(modules))
    return hashlib.sha256("".join(f"{n}:{_module_digest(n)}\n" for n in names).encode()).hexdigest()[:16]


def closure(modules: tuple[str, ...]) -> set[str]:
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
    settings = name.endswith(".settings")
    return settings or name == "wsss" or any(name == n or name.startswith(f"{n}.") for n in _DO_NOT_COMPUTE)


@functools.cache
def _source(name: str) -> Path | None:
    """The file of a module, found without importing it."""
    first, *rest = name.split(".")
    spec = util.find_spec(first)
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec and spec.origin and not rest else None
    base = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
    candidates = (base.with_suffix(".py"), base / "__init__.py") if rest else (base / "__init__.py",)
    return next((path for path in candidates if path.is_file()), None)


@functools.cache
def _tree(name: str) -> ast.Module:
    """The syntax tree of a module without docstrings, those of constants included."""
    tree = ast.parse(_source(name).read_text())
    for node in (tree, *_statements(tree)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)] or [ast.Pass()]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    constant = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


@functools.cache
def _imports(name: str) -> list[str]:
    """The modules that a module imports, and their parent packages."""
    found = []
    for node in _statements(_tree(name), run_time=True):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(name, node)
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    parents = {n.rsplit(".", depth)[0] for n in found for depth in range(1, n.count(".") + 1)}
    return sorted({*found, *parents})


def _statements(node: ast.AST, *, run_time: bool = False) -> Iterator[ast.AST]:
    """The statements within a node, recursively. run_time: leave out those under `if TYPE_CHECKING`."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        for child in getattr(node, field, ()):
            plain = isinstance(child, ast.If) and isinstance(child.test, ast.Name)
            if not (run_time and plain and child.test.id == "TYPE_CHECKING"):
                yield child
                yield from _statements(child, run_time=run_time)


def _absolute(name: str, node: ast.ImportFrom) -> str:
    """The absolute name of an imported module."""
    if not node.level:
        return node.module or ""
    package = name.split(".") if _source(name).name == "__init__.py" else name.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


@functools.cache
def _module_digest(name: str) -> str:
    words: list[str] = []
    _write(_tree(name), words)
    return hashlib.sha256(" ".join(words).encode(errors="surrogatepass")).hexdigest()


def _write(value: object, words: list[str]) -> None:
    """A syntax tree as words: as `ast.dump`, in half of its time; a type says how many fields follow."""
    if isinstance(value, ast.AST):
        words.append(type(value).__name__)
        for field in value._fields:
            _write(getattr(value, field, None), words)
    elif isinstance(value, list):
        words.append(f"[{len(value)}")
        for child in value:
            _write(child, words)
    else:
        words.append(repr(value))
