"""Presets against the published values: no difference without its reason, and a page that says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from wsss.cli.reproduce import with_tables
from wsss.plan.published import NO_SETTING, Difference, system, systems

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow" / "presets"
UPDATE = "run `wsss reproduce --tables docs/methods.md`"
LAYERS = {"irnet"}
"""Presets with a published number that is only an orientation: they stand over any method."""


@pytest.mark.parametrize("name", systems())
def test_every_difference_has_its_reason(name):
    entry = system(name)
    for found in entry.compare(entry.run(PRESETS)):
        assert found.equal or found.why, (
            f"{name}: {found.setting} is {found.ours}, published {found.published} ({found.source}); set it so, or say "
            f"why behind the source in src/wsss/plan/published.yaml; then {UPDATE}"
        )


@pytest.mark.parametrize("name", systems())
def test_a_value_that_is_said_to_have_no_setting_has_none(name):
    entry = system(name)
    found = {difference.setting: difference for difference in entry.compare(entry.run(PRESETS))}
    lost = [setting for setting in entry.values if found[setting].ours == NO_SETTING and not found[setting].why]
    assert not lost, f"{name}: the presets have no {lost}"


@pytest.mark.parametrize("name", systems())
def test_the_report_shows_the_published_numbers(name):
    entry = system(name)
    shown = entry.run(PRESETS).published.get(entry.dataset, {})
    assert {row: number.miou for row, number in shown.items()} == {
        row: miou for row, (miou, _) in entry.results.items()
    }


def test_every_preset_with_a_published_number_is_in_the_file():
    numbered = {path.stem for path in PRESETS.glob("*.yaml") if "published" in (yaml.safe_load(path.read_text()) or {})}
    known = {preset for entry in systems().values() for preset in entry.presets}
    assert numbered - LAYERS <= known


def test_the_page_says_what_the_presets_do():
    page = ROOT / "docs" / "methods.md"
    assert page.read_text() == with_tables(page.read_text(), PRESETS), UPDATE


@pytest.mark.parametrize(
    ("published", "ours", "equal"),
    [
        (8, 8.0, True),
        (0.3, 0.1 + 0.2, True),
        ([448, 768], [448.0, 768.0], True),
        ([448, 768], [448.0], False),
        ({"steps": 10}, {"steps": 10, "backend": "auto"}, True),
        ({"steps": 10}, None, False),
        (None, None, True),
        ("oracle", NO_SETTING, False),
    ],
)
def test_equal_is_what_computes_the_same(published, ours, equal):
    assert Difference("a", published, "", ours, "").equal is equal


def test_an_unknown_system_is_one_line():
    with pytest.raises(ValueError, match=r"no published system 'seem'; did you mean 'seam'.*systems: seam, psa"):
        system("seem")
