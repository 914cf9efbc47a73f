"""Merging of the shards' files into one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from wsss.store.features import open_shard
from wsss.store.hdf5 import write_file
from wsss.store.maps import MapStore, PathLike


def _locate(stores: Sequence[MapStore]) -> dict[str, int]:
    """Image id → index of the store that contains it; ValueError if two do, or if their headers differ."""
    where: dict[str, int] = {}
    for i, store in enumerate(stores):
        if store.header != stores[0].header:
            both = f"{store.path} and {stores[0].path}"
            raise ValueError(f"{both} differ in kind, class names, palette or attributes")
        for image_id in store:
            if image_id in where:
                both = f"{stores[where[image_id]].path} and in {store.path}"
                raise ValueError(f"image {image_id!r} is both in {both}")
            where[image_id] = i
    return where


def merge(paths: Sequence[PathLike], out: PathLike, order: Sequence[str]) -> None:
    """Merge shards into one file with the ids in the given order, copying the compressed records unchanged.

    The result depends only on content and order, not on the sharding.

    Raises:
        ValueError: an id of `order` is in no shard or given twice, a shard has an id that is not in `order`, or the
            headers differ.
    """
    if not paths:
        raise ValueError("merge needs at least one shard, got none")
    with ExitStack() as stack:
        stores = [stack.enter_context(open_shard(p)) for p in paths]
        where = _locate(stores)
        missing, extra = set(order) - set(where), set(where) - set(order)
        for problem, ids in (("in no shard", missing), ("in a shard but not in the order", extra)):
            if ids:
                raise ValueError(f"cannot merge to {out}: {len(ids)} images {problem}, first {min(ids)!r}")
        if len(set(order)) != len(order):
            raise ValueError(f"cannot merge to {out}: an id occurs twice in the order")
        records = ((image_id, stores[where[image_id]].record(image_id)) for image_id in order)
        write_file(Path(out), stores[0].header, records)
