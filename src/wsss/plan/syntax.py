"""Syntax trees of Python code as words: what remains of code without layout, comments and docstrings."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence

_TOLD = "words"
"""Method of settings that describes them to readers."""


def plain_tree(text: str) -> ast.Module:
    """The syntax tree of code without docstrings, those of constants included."""
    tree = ast.parse(text)
    for node in (tree, *statements(tree)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)] or [ast.Pass()]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    constant = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def statements(node: ast.AST, *, run_time: bool = False) -> Iterator[ast.AST]:
    """The statements within a node, recursively. run_time: leave out those under `if TYPE_CHECKING`."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        if not (run_time and field == "body" and _is_for_types(node)):
            for child in getattr(node, field, ()):
                yield child
                yield from statements(child, run_time=run_time)


def _is_for_types(node: ast.AST) -> bool:
    test = node.test if isinstance(node, ast.If) else None
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


@functools.cache
def words_of(tree: ast.AST) -> tuple[str, ...]:
    """A syntax tree as words."""
    words: list[str] = []
    _write(tree, words)
    return tuple(words)


@functools.cache
def names_of(tree: ast.AST) -> frozenset[str]:
    """The names in a syntax tree, quoted, and after a point those of attributes."""
    return frozenset(word for word in words_of(tree) if word[0] in "'.")


def _write(value: object, words: list[str]) -> None:
    """A syntax tree as words: as `ast.dump`, in half of its time; a type says how many fields follow."""
    if isinstance(value, ast.AST):
        words.append(type(value).__name__)
        for field in value._fields:
            _write(getattr(value, field, None), words)
        if isinstance(value, ast.Attribute):
            words.append(f".{value.attr}")
    elif isinstance(value, list):
        words.append(f"[{len(value)}")
        for child in value:
            _write(child, words)
    else:
        words.append(repr(value))


def digest_of(words: Sequence[str]) -> str:
    """SHA-256 of words in hex."""
    return hashlib.sha256(" ".join(words).encode(errors="surrogatepass")).hexdigest()


def named_by(named: set[str], settings: Iterable[ast.Module]) -> list[str]:
    """Digests of the functions and constants of modules of settings that code names, directly or not.

    named: the names in the code; those in the members found count, too.
    """
    rest = [member for tree in settings for member in _members(tree)]
    digests = []
    while new := [member for member in rest if not named.isdisjoint(member[0])]:
        rest = [member for member in rest if named.isdisjoint(member[0])]
        digests += [digest_of(words_of(tree)) for _, tree in new]
        named = named.union(*(names_of(tree) for _, tree in new))
    return sorted(digests)


def _members(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[set[str], ast.AST]]:
    """(its names as in `names_of`, syntax tree) of each function, constant and plain class of a module of settings.

    Fields are left out, as their values are in the keys.
    """
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.decorator_list:
            yield from _members(node)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = {node.name} - {_TOLD}
        elif isinstance(node, ast.Assign) or (isinstance(node, ast.AnnAssign) and _is_constant(node, tree)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        else:
            continue
        bare = () if isinstance(tree, ast.ClassDef) else map(repr, names)
        yield {*(f".{name}" for name in names), *bare}, node


def _is_constant(node: ast.AnnAssign, tree: ast.AST) -> bool:
    kind = getattr(node.annotation, "value", node.annotation)
    return isinstance(tree, ast.Module) or "ClassVar" in (getattr(kind, "id", ""), getattr(kind, "attr", ""))
