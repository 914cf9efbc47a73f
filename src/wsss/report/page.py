"""Rendering of self-contained pages, whose content security policy allows only their own styles and scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wsss import __version__
from wsss.report.gallery import Gallery

_FILES = resources.files("wsss.report") / "templates"


def render(template: str, gallery: Gallery, **values: Any) -> str:
    """The page of a template; all values are escaped."""
    environment = Environment(
        loader=PackageLoader("wsss.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["json"] = _json
    style = _source("style.css")
    script = "\n".join(map(_source, ("page.js", "maps.js", "marks.js", "gallery.js", "enlarge.js")))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(
        gallery=gallery,
        style=Markup(style),
        script=Markup(script),
        policy=policy,
        version=__version__,
        **values,
    )


def _source(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _hash(text: str) -> Markup:
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")


def _json(value: Any) -> Markup:
    """JSON, escaped so that it cannot end its script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
