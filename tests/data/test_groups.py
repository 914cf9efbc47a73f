"""Groups of images: what is left to do, and writing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsss.data.dataset import Record
from wsss.data.groups import WriteBehind, pending


def test_only_groups_that_are_not_whole_everywhere_are_left():
    groups = [[Record(i, Path(), None, np.zeros(1), "train", True, (1, 1)) for i in ids] for ids in ("ab", "cd", "ef")]
    assert pending(groups, {"a", "b", "c"}, {"a", "b", "c", "d"}) == groups[1:]


def test_writes_keep_their_order_and_errors_come_back():
    written = []
    with WriteBehind() as behind:
        for i in range(50):
            behind(written.append, i)
    assert written == list(range(50))
    with pytest.raises(ZeroDivisionError), WriteBehind() as behind:
        behind(lambda: 1 / 0)
