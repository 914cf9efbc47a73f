"""What the sharded stages share beside their command line."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wsss import schema
from wsss.data.dataset import Record
from wsss.devices import claim_device
from wsss.progress import Progress


def shard_progress(groups: Sequence[list[Record]], todo: Sequence[list[Record]]) -> Progress:
    """Progress over the images of a shard, of which those of `todo` are left."""
    total = sum(map(len, groups))
    return Progress(total, "images", done=total - sum(map(len, todo)))


def crf_device(crf: schema.CRF | None, name: str) -> torch.device:
    """Where a CRF computes if the job's device is `name`: pydensecrf knows the CPU only."""
    return torch.device("cpu") if crf is None or crf.backend == "pydensecrf" else claim_device(name)
