"""A leaderboard as a table that fits the terminal: task columns shorten, side columns go, no number is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion_bench.report.leaderboard import Board, Row

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


@dataclass(frozen=True)
class _Column:
    header: str
    cell: Callable[[Row], str]
    best: str | None = None  # the board's column whose best value is highlighted
    left: bool = False
    cuttable: bool = False

    def width(self, rows: Sequence[Row]) -> int:
        star = 1 if self.best else 0
        return max(len(self.header), *(len(self.cell(row)) + star for row in rows))


def render(board: Board, *, width: int, console: Console | None = None) -> RenderableType:
    """The board as a rich renderable at most ``width`` columns wide.

    Columns, while there is room: rank, algorithm, accuracy per task, mean, groups that cannot be told apart, the mean's
    95 % interval, mean normalised by the experts, data seen, seconds, peak memory. The best method per column is bold,
    and starred where there is no colour; reference rows are dim and have no rank.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    coloured = console is not None and console.color_system is not None
    columns, legend, gap = _fitting(board, width)
    # the box itself puts one blank between columns
    table = Table(box=SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    taken = sum(column.width(board.rows) for column in columns if not column.cuttable) + gap * (len(columns) - 1)
    for column in columns:
        table.add_column(
            column.header,
            justify="left" if column.left else "right",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if column.left else column.width(board.rows),
            max_width=max(8, width - taken) if column.cuttable else None,  # a name may be cut, never a number
        )
    for row in board.rows:
        cells = []
        for column in columns:
            best = column.best is not None and board.is_best(row, column.best)
            text = column.cell(row) + ("*" if best and not coloured else " " if column.best and not coloured else "")
            cells.append(Text(text, style="bold green" if best else ""))
        table.add_row(*cells, style="dim" if row.is_reference else "")
    note = f"{board.units}; norm: in % of the experts'; " + ("bold" if coloured else "*") + ": best method"
    if any(column.header == "≈" for column in columns):
        note += "\n≈: methods that share a letter cannot be told apart; examples of one source count together"
    if legend:
        note += "\ntasks: " + ", ".join(f"{mark} {task}" for mark, task in legend.items())
    return Group(Text(board.title, style="bold"), table, Text(note, style="dim"))


def _fitting(board: Board, width: int) -> tuple[list[_Column], dict[str, str], int]:
    """The richest layout that fits: its columns, what the short task names stand for, and the gap between columns."""
    full = {task: task for task in board.tasks}
    short = abbreviations(board.tasks)
    layouts: tuple[tuple[dict[str, str], int, Sequence[str], int], ...] = (
        (full, 1, ("letters", "interval", "normalized", "data", "seconds", "memory"), 2),
        (full, 1, ("letters", "interval", "normalized", "seconds", "memory"), 2),
        (full, 1, ("letters", "interval", "normalized", "seconds", "memory"), 1),
        (short, 1, ("letters", "interval", "normalized", "seconds", "memory"), 2),
        (short, 1, ("letters", "interval", "normalized", "seconds", "memory"), 1),
        (short, 1, ("letters", "margin", "normalized", "seconds", "memory"), 1),
        (short, 0, ("letters", "margin", "normalized", "seconds", "memory"), 1),
        (short, 0, ("letters", "margin", "normalized", "seconds"), 1),
        (short, 0, ("letters", "margin", "normalized"), 1),
        (short, 0, ("letters", "margin"), 1),
        (short, 0, ("margin", "normalized"), 1),
        ({}, 1, ("letters", "interval", "normalized", "seconds", "memory"), 2),
        ({}, 1, ("letters", "margin", "normalized", "seconds"), 1),
        ({}, 1, (), 1),
    )
    for tasks, digits, side, gap in layouts:
        columns = [c for c in _columns(tasks, digits, side) if any(c.cell(row) for row in board.rows)]
        needed = sum(column.width(board.rows) for column in columns) + gap * (len(columns) - 1)
        if needed <= width:
            break
    return columns, {mark: task for task, mark in tasks.items() if mark != task}, gap


def _columns(tasks: dict[str, str], digits: int, side: Sequence[str]) -> list[_Column]:
    side_columns = {
        "letters": _Column("≈", lambda row: row.letters, left=True),
        "interval": _Column("95 %", lambda row: "" if row.interval is None else _range(*row.interval)),
        "margin": _Column(
            "±95", lambda row: "" if row.interval is None else f"{50 * (row.interval[1] - row.interval[0]):.1f}"
        ),
        "normalized": _Column("norm", lambda row: _percent(row.normalized), best="normalized"),
        "data": _Column("data", lambda row: ", ".join(row.data_access), left=True),
        "seconds": _Column("s", lambda row: _number(row.seconds)),
        "memory": _Column("MB", lambda row: "" if row.memory_mb is None else f"{row.memory_mb:.0f}"),
    }
    return [
        _Column("#", lambda row: "" if row.rank is None else str(row.rank)),
        _Column("algorithm", lambda row: row.title, left=True, cuttable=True),
        *(_Column(mark, _task_cell(task, digits), best=task) for task, mark in tasks.items()),
        _Column("mean", lambda row: _percent(row.mean), best="mean"),
        *(side_columns[name] for name in side),
    ]


def abbreviations(names: Sequence[str], *, length: int = 4) -> dict[str, str]:
    """A distinct mark of at most ``length`` characters per name: its beginning, else its beginning and a digit.

    Example:
        >>> abbreviations(["mnist", "kmnist_hard", "kmnist_easy"])
        {'mnist': 'mnis', 'kmnist_hard': 'kmni', 'kmnist_easy': 'kmn2'}
    """
    marks: dict[str, str] = {}
    for name in names:
        mark, count = name[:length], 1
        while mark in marks.values():
            count += 1
            mark = name[: length - len(str(count))] + str(count)
        marks[name] = mark
    return marks


def _task_cell(task: str, digits: int) -> Callable[[Row], str]:
    return lambda row: _percent(row.accuracy.get(task), digits)


def _percent(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f}–{100 * high:.1f}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
