from __future__ import annotations

import io

import pytest
from rich.console import Console

from fusion_bench.report.leaderboard import leaderboards
from fusion_bench.report.table import abbreviations, render


def printed(results, width: int, *, colour: bool = False) -> str:
    (board,) = leaderboards(results)
    out = io.StringIO()
    system = "standard" if colour else None
    console = Console(file=out, width=width, force_terminal=colour, color_system=system, highlight=False)
    console.print(render(board, width=width, console=console))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 240])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(results, width):
    text = printed(results, width)
    assert max(map(len, text.splitlines())) <= width
    line = next(line for line in text.splitlines() if "iso_c" in line)
    assert "68.0*" in line
    assert "…" not in text


def test_at_160_columns_every_task_is_named_in_full(results):
    text = printed(results, 160)
    header = text.splitlines()[1].split()
    for name in ("mnist", "emnist_letters", "quickdraw_animals", "mean", "norm", "s", "MB"):
        assert name in header
    assert "66.8–69.2" in text
    assert "812" in text


def test_at_80_columns_every_task_is_still_there_under_a_short_name(results):
    text = printed(results, 80)
    header = text.splitlines()[1].split()
    assert {"mnis", "fash", "emni", "quic", "mean", "±95", "norm"} <= set(header)
    row = next(line for line in text.splitlines() if "dare_task_arithmetic" in line).split()
    assert row[:2] == ["3", "dare_task_arithmetic"]
    assert len(row) == 2 + 8 + 3
    assert "quic quickdraw_animals" in " ".join(text.split())  # the legend says what the short names stand for


def test_at_60_columns_the_summary_is_kept_and_tasks_go(results):
    header = printed(results, 60).splitlines()[1].split()
    assert "mean" in header
    assert "mnis" not in header


def test_a_name_too_long_for_any_layout_is_cut_and_its_numbers_are_not(results):
    results[1]["case"]["algorithm"] = "x" * 100
    text = printed(results, 80)
    assert "…" in text
    assert "60.0" in text
    assert max(map(len, text.splitlines())) <= 80


def test_best_is_bold_where_there_is_colour_and_starred_where_there_is_none(results):
    assert "68.0*" in printed(results, 160)
    coloured = printed(results, 160, colour=True)
    assert "*" not in coloured
    assert "\x1b[1;32m 68.0" in coloured or "\x1b[1;32m68.0" in coloured


def test_abbreviations_are_distinct():
    names = [f"kmnist_{i}" for i in range(12)]
    marks = abbreviations(names)
    assert len(set(marks.values())) == 12
    assert all(len(mark) <= 4 for mark in marks.values())
