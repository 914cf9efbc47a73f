"""Remarks for the user on suspicious but valid data: masks that contradict labels, images that occur twice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from wsss.runtime.labels import IGNORE

Rows = Sequence[Mapping[str, str]]
"""Rows of index.csv: with image_id and labels, and if known split, mask and measured."""

_SHOW_NOTHING = {"bg", "blank", "clean", "empty", "negative", "no", "normal", "nothing", "other", "others", "rest"}
_SHOW_NOTHING |= {"unknown", "n a", "nil", "no finding", "no label", "no labels", "no object", "background google"}
_BETWEEN = {"and", "or", "with", "und", "oder", "mit", "et", "ou", "avec"}

_DENIED = re.compile(r"(?:[-!~¬]|(?:not?|non|without)[-_ ])\s*(.+)")


def of_names(class_names: Sequence[str]) -> Iterator[str]:
    """Names that may be no class, or several. class_names: background first."""
    names = {name.casefold(): name for name in class_names[1:]}
    if numbers := [name for name in class_names[1:] if re.fullmatch(r"\d+(\.0)?", name)]:
        which = f"{len(numbers)} of {len(names)} classes are numbers ({', '.join(numbers[:3])} …)"
        yield f"{which}, which are taken for their names"
    for word, name in names.items():
        if re.sub(r"[-_.\s]+", " ", word).strip() in _SHOW_NOTHING:
            yield f"class '{name}': where an image shows none of the classes, it has no label, and this is no class"
        elif word in _BETWEEN and len(names) > 2:
            yield f"class '{name}' may be a word between names; separate them by commas or semicolons"
        elif re.fullmatch(r".*[^\W\d_]\s*[:=(]\s*[\d.,]+\s*[%)]?", word):
            yield f"class '{name}' may be a name and a number that belongs to it; write the name alone"
        elif (denied := _DENIED.fullmatch(word)) and denied[1] in names:
            yield f"class '{name}' may say that an image lacks '{names[denied[1]]}'; leave such names out"
        elif len(parts := re.split(r"[-_.\s]+", word)) > 1 and set(parts) <= names.keys():
            yield f"class '{name}' may be {len(parts)} classes; separate names by commas or semicolons"


def of_labels(class_names: Sequence[str], rows: Rows) -> Iterator[str]:
    """Images without a label, and classes of no or of every training image. class_names: background first."""
    bare = [row["image_id"] for row in rows if not row["labels"]]
    if bare:
        yield f"{len(bare)} image(s) have no label and count as background only, e.g. {bare[0]}"
    training = [row["labels"].split(";") for row in rows if row["split"] == "train"]
    missing = [name for name in class_names[1:] if not any(name in labels for labels in training)]
    if missing:
        yield f"{len(missing)} class(es) have no training image and cannot be learned: {', '.join(missing)}"
    for name in class_names[1:]:
        if all(name in labels for labels in training):
            yield f"class '{name}' is in every image: without images that lack it, it cannot be located"


def of_masks(class_names: Sequence[str], rows: Rows, shown: Mapping[str, frozenset[int]]) -> Iterator[str]:
    """Masks that contradict their images' labels. shown: image id → values of its mask."""
    number = {name: i for i, name in enumerate(class_names)}
    own = {
        row["image_id"]: {number[name] for name in row["labels"].split(";") if name}
        for row in rows
        if row["image_id"] in shown
    }
    labelled = [image_id for image_id, classes in own.items() if classes]
    strange = [image_id for image_id in labelled if not shown[image_id] & own[image_id]]
    more = [image_id for image_id, classes in own.items() if shown[image_id] - classes - {0, IGNORE}]
    if strange:
        yield (
            f"{len(strange)} of {len(labelled)} masks show none of their image's classes, e.g. that of {strange[0]}; "
            f"do their class ids follow the order {', '.join(class_names[:4])} …?"
        )
    elif more:
        found = f"{len(more)} of {len(own)} masks show a class that their image is not labelled with"
        yield f"{found}, e.g. that of {more[0]}"


def of_measuring(rows: Rows) -> Iterator[str]:
    """A split without a measured mask, in a data set with masks."""
    if any(row["mask"] for row in rows):
        for split in ("train", "val"):
            if not any(row["split"] == split and row["measured"] == "1" for row in rows):
                yield f"no image of {split} has a mask to measure with: nothing is measured on {split}"


def of_twins(rows: Rows, digests: Mapping[str, bytes]) -> Iterator[str]:
    """Images whose files are the same. digests: image id → digest of its file."""
    groups: dict[bytes, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        if row["image_id"] in digests:
            groups[digests[row["image_id"]]].append(row)
    twins = [members for members in groups.values() if len(members) > 1]
    across = [members for members in twins if len({row.get("split") for row in members}) > 1]
    apart = [members for members in twins if len({row["labels"] for row in members}) > 1]
    if across:
        yield (
            f"{len(across)} file(s) are in train and in val under different names, {_named(across)}: what is measured "
            "on them was learned; leave them in one split"
        )
    if apart:
        yield f"{len(apart)} file(s) have several names with different labels, {_named(apart)}"
    elif twins and not across:
        yield f"{len(twins)} file(s) occur several times, {_named(twins)}"


def _named(twins: Sequence[Sequence[Mapping[str, str]]]) -> str:
    return "e.g. " + " and ".join(row["image_id"] for row in twins[0][:2])
