"""Lists every setting of a run, and of `execution`, with type, default and meaning: `wsss describe [section]`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wsss.config.loading import models_in
from wsss.config.messages import nearest
from wsss.config.run import Execution, Run
from wsss.runtime.ending import plain_ending


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(path, type, default, description) of every setting below `model`, depth first.

    A section with several alternatives appears once for each, with its name in brackets.
    """
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        sections = models_in(field.annotation)
        if not sections:
            yield path, _type_name(field.annotation), _default(field), field.description or ""
        for section in sections:
            kind = f"[{section.__name__}]" if len(sections) > 1 else ""
            about = (section.__doc__ or "").strip().splitlines()[0]
            yield f"{path}{kind}", "section", "", field.description or about
            yield from settings(section, f"{path}{kind}.")


def _type_name(annotation: Any) -> str:
    """The annotation as written in code, without pydantic's bounds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " or ".join(map(_type_name, arguments))
    name = "null" if annotation is NoneType else getattr(annotation, "__name__", str(annotation))
    return f"{name} of {', '.join(map(_type_name, arguments))}" if arguments else name


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=False)
    return "required" if field.is_required() else str(value)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", nargs="?", default="", help="e.g. train_classifier.training; default: all")
    section = parser.parse_args().section
    with plain_ending("describe"):
        _print(section)


def _print(section: str) -> None:
    every = [*settings(Run), *settings(Execution, "execution.")]
    found = [row for row in every if row[0].startswith(section)]
    if not found:
        sections = ", ".join([*Run.model_fields, "execution"])
        near = nearest(section, (row[0] for row in every))
        raise ValueError(f"no setting starts with '{section}'{near}; sections: {sections}")
    for path, kind, default, about in found:
        print(
            f"{path}  ({kind}{f', {default}' if default else ''})\n    {about}"
            if about
            else f"{path}  ({kind}, {default})"
        )


if __name__ == "__main__":
    main()
