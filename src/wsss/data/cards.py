"""Data card: origin, terms and citations of a data set, written to data_card.md."""

from __future__ import annotations

from pathlib import Path

from wsss.data.sources.base import About
from wsss.runtime.cells import markdown
from wsss.runtime.files import write_atomically


def data_card(source: About, class_names: list[str], rows: list[dict[str, str]]) -> str:
    """Markdown text with title, terms, citations, and counts by split and class. rows: of index.csv."""
    lines = [f"# Data: {source.title}", ""]
    lines += [f"- Terms: {source.licence}"]
    lines += [f"- Published at: {source.url}"] if source.url else []
    lines += [f"- Cite: {text}" for text in source.citations]
    lines += ["", "| | train | val |", "|---|---|---|"]

    def count(what: str, chosen: list[dict[str, str]]) -> str:
        return f"| {what} | " + " | ".join(str(sum(r["split"] == s for r in chosen)) for s in ("train", "val")) + " |"

    lines += [count("images", rows), count("images with masks", [r for r in rows if r["mask"]])]
    lines += [count(markdown(name), [r for r in rows if name in r["labels"].split(";")]) for name in class_names[1:]]
    return "\n".join(lines) + "\n"


def write_data_card(folder: Path, source: About, class_names: list[str], rows: list[dict[str, str]]) -> None:
    """Writes `data_card.md` beside index.csv."""
    write_atomically(folder / "data_card.md", data_card(source, class_names, rows))
