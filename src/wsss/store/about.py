"""What a model file says of its network, read without torch and without the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from safetensors import safe_open

from wsss.runtime.files import regular
from wsss.runtime.labels import IGNORE


def about_digest(about: Mapping[str, Any]) -> str:
    """Digest of a description, except of the digest itself."""
    return blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()


def copy_described(source: Path, target: Path, **more: Any) -> None:
    """Copies a model file, with further entries in its description.

    Raises:
        ValueError: the source is not a model file written by wsss, or damaged.
    """
    about = read_about(source) | more
    text = json.dumps(about | {"digest": about_digest(about)}, ensure_ascii=False)
    with source.open("rb") as old, target.open("wb") as new:
        header = json.loads(old.read(int.from_bytes(old.read(8), "little")))
        head = json.dumps(header | {"__metadata__": {"wsss": text}}, ensure_ascii=False).encode()
        head += b" " * (-len(head) % 8)
        new.write(len(head).to_bytes(8, "little") + head)
        shutil.copyfileobj(old, new)


def read_about(path: Path) -> dict[str, Any]:
    """The kind, settings and classes of a model file.

    Raises:
        ValueError: not a model file written by wsss, or damaged.
        FileNotFoundError: the file does not exist.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; accepted is a model file, e.g. {path / 'model.safetensors'}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    require_weights(path)
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["wsss"])
    except KeyError:
        raise ValueError(f"{path}: a safetensors file, but not a model written by wsss") from None
    except Exception as error:
        raise ValueError(f"{path}: not a readable safetensors file ({str(error).splitlines()[0]})") from error
    types = {"kind": str, "settings": dict, "classes": list}
    if not isinstance(about, dict) or not all(isinstance(about.get(name), kind) for name, kind in types.items()):
        raise ValueError(f"{path}: damaged (it does not say what network it holds)")
    classes = about["classes"]
    if not all(isinstance(name, str) for name in classes) or not 1 < len(set(classes)) == len(classes) <= IGNORE:
        raise ValueError(f"{path}: damaged (its classes are no 2 to {IGNORE} different names)")
    digest = about.pop("digest", None)
    if digest is not None and digest != about_digest(about):
        raise ValueError(f"{path}: damaged (what it says of its network is not what was written)")
    return about


def require_weights(path: Path) -> None:
    """Raises ValueError for an empty file, and for a web page or a pointer, which some servers send instead of one."""
    with regular(path).open("rb") as file:
        start = file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        raise ValueError(f"'{path}' is empty: the download was interrupted, or the disk was full")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"'{path}' is a pointer of Git LFS instead of weights: fetch the file with `git lfs pull`")
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        raise ValueError(f"'{path}' is a web page instead of weights: open its address in a browser, download again")
