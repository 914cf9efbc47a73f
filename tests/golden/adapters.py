"""Every golden case → the product's own code. Adapters rename and reshape; they compute nothing.

One module a family of cases (`cases_*.py` beside this file), each with `CASES` and `TOLERANCES`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(place) for place in (HERE, HERE.parent) if str(place) not in sys.path]

from compare import Adapter, Tolerance  # noqa: E402

CASES: dict[str, Adapter] = {}
TOLERANCES: dict[str, Tolerance] = {}

for _path in sorted(HERE.glob("cases_*.py")):
    _module = importlib.import_module(_path.stem)
    CASES |= _module.CASES
    TOLERANCES |= _module.TOLERANCES
