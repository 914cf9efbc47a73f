"""The code digest follows the algorithm, through imports, and nothing else."""

from __future__ import annotations

import pytest

from wsss.plan import code as digest


def forget() -> None:
    """Modules are read anew."""
    for function in (digest._tree, digest._imports, digest._module_digest):
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
