"""`wsss describe` knows every section that a configuration may have."""

from __future__ import annotations

import pytest

from wsss.cli.describe import main


@pytest.mark.parametrize("setting", ["rng_seed", "segment.crf.steps", "execution.shards"])
def test_a_setting_is_found_by_its_path(setting, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["wsss describe", setting])
    main()
    assert capsys.readouterr().out.startswith(f"{setting}  (int, ")


def test_another_name_is_told_the_sections(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["wsss describe", "exekution"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "prepare_data" in (told := capsys.readouterr().err) and told.endswith("execution\n")
