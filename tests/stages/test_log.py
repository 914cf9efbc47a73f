"""What a stage program prints, and what its log file keeps."""

from __future__ import annotations

import logging

import pytest

from wsss.stages.log import plain_errors, start_log


def test_a_programming_error_is_one_line_on_the_terminal_and_a_traceback_in_the_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("wsss"), "handlers", [])
    start_log("segment", tmp_path / "log.txt")
    with pytest.raises(SystemExit) as end, plain_errors():
        raise KeyError("inner")
    told, kept = capsys.readouterr().err, (tmp_path / "log.txt").read_text()
    assert end.value.code == 1 and "Traceback" not in told and "KeyError: 'inner' (traceback in the log file)" in told
    assert "Traceback" in kept and 'raise KeyError("inner")' in kept
