"""docs/bad-input.md lists what the tests try; `PYTHONPATH=tests:src python FILE` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from test_bad_input import MAKE, PREPARE
from test_decoding import ACCEPTED, REFUSED
from test_meaning import MASKS
from test_mishaps import UNMEANT
from test_places import BLANKS, CELLS
from test_sources import BROKEN, ENCODINGS, NAMES, STRANGE_NAMES

from cli.test_outputs import LINES, PLACES
from data.test_formats import DRAWN

PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
TABLE = re.compile(r"(?s)(<!-- (\w+): made by tests/reliability -->\n).*?(<!-- end -->)")


def words(names: Iterable[str]) -> str:
    return ", ".join(names).replace("|", "\\|")


def kinds() -> list[tuple[str, str, str]]:
    """What is tried of every source alike: kind, accepted, refused."""
    blanks = {name: isinstance(found, dict) for name, (_, _, found) in BLANKS.items()}
    return [
        ("image", words(ACCEPTED), words(REFUSED)),
        ("mask", "palette or grey with class ids, 255 = void", words(MASKS)),
        ("text of lists, CSV, JSON and XML", words(ENCODINGS), words(BROKEN)),
        ("class names", words(NAMES), words(STRANGE_NAMES)),
        ("an image named in a CSV", words(CELLS), "anything outside the folder"),
        (
            "blanks around an image's name",
            words(name for name, read in blanks.items() if read),
            words(name for name, read in blanks.items() if not read),
        ),
        ("configuration", "YAML or JSON, of any editor", words(UNMEANT)),
        ("regions drawn in other tools", "masks, polygons, upright boxes", words(DRAWN)),
        (f"where {words(LINES)} write", "a new place, or what the command itself wrote", words(PLACES)),
    ]


def tables() -> dict[str, str]:
    """The page's tables by name."""
    rows = {
        "kinds": [("of every source", "accepted", "refused"), ("---",) * 3, *kinds()],
        "sources": [
            ("source", "refused"),
            ("---",) * 2,
            *((source, words(n for n, case in PREPARE.items() if case[0] == source)) for source in MAKE),
        ],
    }
    return {name: "".join(f"| {' | '.join(row)} |\n" for row in found) for name, found in rows.items()}


def page() -> str:
    """The page with its tables made anew."""
    made = tables()
    return TABLE.sub(lambda found: f"{found[1]}\n{made[found[2]]}\n{found[3]}", PAGE.read_text())


def test_the_page_lists_what_is_tried():
    assert set(tables()) == {found[2] for found in TABLE.finditer(PAGE.read_text())}
    assert PAGE.read_text() == page(), (
        "write it: PYTHONPATH=tests:src python tests/reliability/test_page_of_bad_input.py"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
