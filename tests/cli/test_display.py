"""The bar of a case on the terminal, and that it goes on where the case's own output is kept quiet."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest

from fusion_bench.cli.display import display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_drawn_while_streams_lead_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, elsewhere = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    with display("ties-a-b", 0, 1) as report:
        report("fuse", 0, 1)
        with contextlib.redirect_stderr(elsewhere), contextlib.redirect_stdout(elsewhere):
            report("evaluate gsm8k", 7, 10)
            deadline = 50
            while "evaluate gsm8k" not in terminal.getvalue() and deadline:  # it is drawn ten times a second
                deadline -= 1
                _wait()
        drawn = terminal.getvalue()
    assert "evaluate gsm8k" in drawn
    assert elsewhere.getvalue() == ""


def _wait() -> None:
    import time

    time.sleep(0.1)


def test_without_a_terminal_the_case_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with display("ties-a-b", 1, 3) as report:
        report("fuse", 0, 1)
    assert log.getvalue() == "ties-a-b (2/3)\n"
