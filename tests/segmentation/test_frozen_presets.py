"""Networks of presets on frozen transformers."""

from __future__ import annotations

import pytest

from wsss.config.loading import PRESETS, load_run
from wsss.plan.rehearsal import check_networks


@pytest.mark.parametrize("preset", [["dino-propagation"], ["clip-es", "token-decoder"]])
def test_networks_of_the_preset_fit_together(preset):
    run = {"preset": preset, "prepare_data": {"dataset": "shapes"}}
    check_networks(load_run("x", {"x": run}, PRESETS), 1, "x")
