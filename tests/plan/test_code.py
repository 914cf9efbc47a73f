"""The code digest follows the algorithm, through imports, and nothing else."""

from __future__ import annotations

import pytest

from wsss.config.registry import component_packages
from wsss.plan import code as digest
from wsss.plan.inputs import PLANNED, check_code
from wsss.plan.manifest import Manifest


def forget() -> None:
    """Modules are read anew."""
    for function in (digest._tree, digest._imports, digest._module_digest, digest._spec, digest._source):
        if hasattr(function, "cache_clear"):  # replaced in tests
            function.cache_clear()


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Writes modules `wsss.<name>` to a folder of their own and digests them."""

    def run(**modules: str) -> str:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(
            digest,
            "_source",
            lambda name: p if (p := tmp_path / f"{name.removeprefix('wsss.')}.py").is_file() else None,
        )
        forget()
        return digest.code_digest("wsss.a")

    yield run
    forget()


A = "from wsss.b import f\n\ndef g(x):\n    return f(x) + 1\n"
B = "def f(x):\n    return 2 * x\n"


def test_comments_docstrings_and_layout_do_not_count(code):
    before = code(a=A, b=B)
    assert code(a='"""Doc."""\n' + A.replace("return", '"""Say."""\n    # why\n    return'), b=B) == before
    constant = "x = 1\n"
    assert code(a=A, b=B + constant) == code(a=A, b=f'{B}{constant}"""What x is."""\n')


def test_an_edited_algorithm_counts_however_deep(code):
    before = code(a=A, b=B)
    assert code(a=A, b=B.replace("2", "3")) != before
    assert code(a=A.replace("+ 1", "- 1"), b=B) != before


def test_a_module_that_is_not_imported_does_not_count(code):
    assert code(a=A, b=B, c="x = 1\n") == code(a=A, b=B, c="x = 2\n")


MATHS = """import functools

FACTOR = 2


def scale(x, by=lambda: 3):
    def inner(y):
        return y * FACTOR

    return inner(x) + by()
"""
NETWORK = """from importlib import import_module
from toy import scale
from toy.settings import Settings


class Net:
    width = 4

    def __call__(self, x, settings: Settings):
        return scale(x) ** settings.exponent(x) + import_module("toy.late").f()
"""
SETTINGS = """from pydantic import Field
from wsss.config.common import Component

BASE = 2


class Settings(Component):
    '''About.'''

    implementation = "toy.network:Net"
    gain: float = Field(1.0, description="factor")

    def exponent(self, x):
        return BASE * self.gain

    def words(self):
        return "a toy"
"""
PACKAGE = {
    "__init__.py": "from toy.maths import scale\n", "maths.py": MATHS, "network.py": NETWORK, "settings.py": SETTINGS,
    "late.py": "def f():\n    return 1\n", "tables/colours.json": "[1]", "kernel.c": "int f;", "kernel.so": "ELF",
    "README.md": "About it.",
}  # fmt: skip
EDITS = {
    "a constant": ("maths.py", "FACTOR = 2", "FACTOR = 3", True),
    "a nested function": ("maths.py", "y * FACTOR", "y + FACTOR", True),
    "a default in a lambda": ("maths.py", "lambda: 3", "lambda: 4", True),
    "a decorator": ("maths.py", "\ndef scale", "\n@functools.cache\ndef scale", True),
    "a class attribute": ("network.py", "width = 4", "width = 5", True),
    "an exported name": ("__init__.py", "import scale", "import scale as _s, scale", True),
    "a module loaded by name": ("late.py", "return 1", "return 2", True),
    "a function of the settings": ("settings.py", "BASE * self", "BASE + self", True),
    "a constant of the settings": ("settings.py", "BASE = 2", "BASE = 3", True),
    "a table of data": ("tables/colours.json", "[1]", "[2]", True),
    "compiled code": ("kernel.so", "ELF", "elf", True),
    "code not yet compiled": ("kernel.c", "f", "g", False),
    "words of the settings": ("settings.py", "a toy", "a plaything", False),
    "a default in the key": ("settings.py", "Field(1.0", "Field(2.0", False),
    "a description": ("settings.py", '"factor"', '"what multiplies"', False),
    "a docstring": ("settings.py", "About.", "All about.", False),
    "a comment": ("maths.py", "    return inner", "    # why\n    return inner", False),
    "a text": ("README.md", "About", "All about", False),
}


@pytest.mark.parametrize("place", ["toy", "in a namespace"])
def test_every_part_of_a_package_outside_counts_as_it_should(tmp_path, monkeypatch, place):
    name, folder = ("toy", tmp_path / "toy") if place == "toy" else ("space.toy", tmp_path / "two/space/toy")
    (tmp_path / "one" / "space").mkdir(parents=True)  # a part of the namespace without the package
    for file, text in PACKAGE.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text.replace("toy.", f"{name}.").replace("from toy ", f"from {name} "))
    for path in (tmp_path, tmp_path / "two", tmp_path / "one"):
        monkeypatch.syspath_prepend(path)

    def found() -> str:
        forget()
        return digest.code_digest(f"{name}.network")

    before, wrong = found(), []
    for case, (file, old, new, counts) in EDITS.items():
        text = (folder / file).read_text()
        assert old in text, case
        (folder / file).write_text(text.replace(old, new))
        if (found() != before) != counts:
            wrong.append(case)
        (folder / file).write_text(text)
    forget()
    assert not wrong


def test_a_stage_refuses_other_code_than_planned(code, monkeypatch):
    code(**{"stages.s": A, "b": B})
    manifest = Manifest("s", {}, digest.code_digest("wsss.stages.s"))
    monkeypatch.delenv(PLANNED, raising=False)
    check_code(manifest)
    code(b=B.replace("2", "3"))
    with pytest.raises(ValueError, match="the code of s changed since the run was planned; start it again"):
        check_code(manifest)
    monkeypatch.setenv(PLANNED, digest.source_digest(*component_packages()))
    check_code(manifest)  # no file is another since the run was planned
