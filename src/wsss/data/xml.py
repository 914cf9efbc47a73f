"""Reading of XML annotations in any encoding, without entities of their own."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from wsss.data.text import Text, read_text
from wsss.runtime.files import regular

_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")


def read_xml(path: Path) -> tuple[ElementTree.Element, str | None]:
    """The root of an XML file, and a remark for the user if its encoding is a guess.

    The encoding is the declared one if Python has it and the file is in it, else that detected by `read_text`.

    Raises:
        ValueError: not XML, no text, or entities of its own, which may stand for any amount of text.
        OSError: the file cannot be read.
    """
    text, remark = _declared(path) or read_text(path)
    if "<!ENTITY" in text:
        raise ValueError("it declares entities, which annotations do not need")
    try:
        return ElementTree.fromstring(text), remark
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None


def _declared(path: Path) -> Text | None:
    """The text in the encoding that the file declares; None if it declares none, or is not in it."""
    data = regular(path).read_bytes()
    found = _DECLARED.match(data.removeprefix(b"\xef\xbb\xbf"))
    name = found[1].decode().lower() if found else ""
    if not name or name.startswith(("utf", "ucs")):  # read_text tells these apart by their bytes
        return None
    try:
        return Text(data.decode(name))
    except (UnicodeDecodeError, LookupError):
        return None


def plain_tag(element: ElementTree.Element) -> str:
    """An element's tag without its namespace, in lower case."""
    return element.tag.rpartition("}")[2].lower()


def text_of(element: ElementTree.Element, *tags: str) -> str:
    """The text of a child, of its child …; empty if there is none. tags: as `plain_tag` writes them."""
    for tag in tags:
        element = next((child for child in element if plain_tag(child) == tag), ElementTree.Element(""))
    return element.text or ""
