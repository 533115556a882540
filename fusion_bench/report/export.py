"""A leaderboard for other programs: CSV and JSON (accuracies are fractions), Markdown and LaTeX (per cent)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_bench.report.leaderboard import Board, Row
from fusion_bench.report.measures import LEGEND, grid

SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """A board, and what tells it from others of its pools: ``data``, the digest of its examples."""

    board: Board
    data: str = ""


def to_csv(board: Board) -> str:
    """One line per row: rank (empty for reference rows), algorithm, kind, a column per task, then the summary columns.

    Example:
        >>> row = Row("ties", "merging", {"mnist": 0.5}, mean=0.5, rank=1)
        >>> print(to_csv(Board("p", "t", ("mnist",), (row,))).splitlines()[1])
        1,ties,merging,0.5,0.5,,,,,,,1
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["rank", "algorithm", "kind", *board.tasks, *_SIDE])
    for row in board.rows:
        writer.writerow([row.rank, row.name, row.kind, *map(row.accuracy.get, board.tasks), *_side(row)])
    return out.getvalue()


def to_json(board: Board) -> str:
    """The board as a JSON object with a ``schema`` number.

    Example:
        >>> row = Row("ties", "merging", {"mnist": 0.5}, mean=0.5, rank=1)
        >>> json.loads(to_json(Board("p", "t", ("mnist",), (row,))))["rows"][0]["accuracy"]
        {'mnist': 0.5}
    """
    return json.dumps({"schema": SCHEMA, **_board(board)}, indent=2)


def to_markdown(board: Board) -> str:
    """A pipe table in per cent; the best method of each column is bold, reference rows are in italics.

    Where rows have letters there is a column of them. What tasks measure beside what they are scored by is a table of
    its own below, where there is any.

    Example:
        >>> row = Row("ties", "merging", {"mnist": 0.5}, mean=0.5, interval=(0.46, 0.54), rank=1)
        >>> print(to_markdown(Board("p", "t", ("mnist",), (row,))))
        | # | algorithm | mnist | mean | 95 % | normalised | seconds | MB |
        |--:|:--|--:|--:|--:|--:|--:|--:|
        | 1 | ties | 50.0 | 50.0 | 46.0–54.0 |  |  |  |
        <BLANKLINE>
    """
    header = [_md(name) for name in _header(board)]
    lines = [_pipe(header), "|--:|:--|" + "--:|" * (len(header) - 2)]
    for row in board.rows:
        cells = _cells(board, row, bold="**{}**")
        cells[1] = _name(row)
        lines.append(_pipe(cells))
    return "\n".join([*lines, *_other_measures(board)]) + "\n"


def _other_measures(board: Board) -> list[str]:
    columns, rows = grid([(_name(row), row.measures) for row in board.rows])
    head = _pipe(["algorithm", *map(_md, columns)])
    return (
        ["", f"Other measures. {LEGEND}", "", head, "|:--|" + "--:|" * len(columns), *map(_pipe, rows)] if rows else []
    )


def _name(row: Row) -> str:
    return f"*{_md(row.title)}*" if row.is_reference else _md(row.title)


def to_latex(board: Board) -> str:
    r"""A ``tabular`` with the rules of the package booktabs, in per cent; marked as in `to_markdown`.

    Example:
        >>> row = Row("dare_ties", "merging", {"mnist": 0.5}, mean=0.5, interval=(0.46, 0.54), rank=1)
        >>> print(to_latex(Board("p", "t", ("mnist",), (row,))).splitlines()[5])
        1 & dare\_ties & 50.0 & 50.0 & 46.0--54.0 &  &  &  \\
    """
    header = [_tex(name) for name in _header(board)]
    lines = [f"% {_tex(board.title)}: {_tex(board.units)}; needs \\usepackage{{booktabs}}"]
    lines += [f"\\begin{{tabular}}{{rl{'r' * (len(header) - 2)}}}", "\\toprule", _ampersand(header), "\\midrule"]
    for row in board.rows:
        cells = _cells(board, row, bold="\\textbf{{{}}}")
        cells[1] = f"\\textit{{{_tex(row.title)}}}" if row.is_reference else _tex(row.title)
        lines.append(_ampersand([cell.replace("–", "--") for cell in cells]))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def write_boards(entries: Sequence[Entry], form: str) -> str:
    """Several boards as one document.

    Args:
        form: "md" and "latex": one table after the other; "csv": one table with the pools, the digest of the examples
            and the letters as further columns, and a column for every task of any board; "json": a list of boards.

    Example:
        >>> row = Row("ties", "merging", {"mnist": 0.5}, mean=0.5, rank=1, letters="a")
        >>> entry = Entry(Board("p", "t", ("mnist",), (row,)), "0a1b")
        >>> print(write_boards([entry], "csv"))
        modelpool,taskpool,data,rank,algorithm,kind,group,mnist,mean,normalized,interval_low,interval_high,seconds,memory_mb,data_access,seeds
        p,t,0a1b,1,ties,merging,a,0.5,0.5,,,,,,,1
        <BLANKLINE>
    """
    return _WRITERS[form](entries)


def _many_markdown(entries: Sequence[Entry]) -> str:
    return "\n".join(f"## {_md(_title(entry))}\n\n{to_markdown(entry.board)}" for entry in entries)


def _many_latex(entries: Sequence[Entry]) -> str:
    return "\n".join(to_latex(entry.board) for entry in entries)


def _many_csv(entries: Sequence[Entry]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    tasks = list(dict.fromkeys(task for entry in entries for task in entry.board.tasks))
    writer.writerow(["modelpool", "taskpool", "data", "rank", "algorithm", "kind", "group", *tasks, *_SIDE])
    for entry in entries:
        pools = [entry.board.modelpool, entry.board.taskpool, entry.data]
        for row in entry.board.rows:
            known = [row.rank, row.name, row.kind, row.letters]
            writer.writerow([*pools, *known, *map(row.accuracy.get, tasks), *_side(row)])
    return out.getvalue()


def _many_json(entries: Sequence[Entry]) -> str:
    boards = [{**_board(entry.board), "data": entry.data} for entry in entries]
    return json.dumps({"schema": SCHEMA, "boards": boards}, indent=2, ensure_ascii=False) + "\n"


_WRITERS: dict[str, Callable[[Sequence[Entry]], str]] = {
    "md": _many_markdown,
    "csv": _many_csv,
    "latex": _many_latex,
    "json": _many_json,
}
FORMS = tuple(_WRITERS)

_SIDE = ("mean", "normalized", "interval_low", "interval_high", "seconds", "memory_mb", "data_access", "seeds")


def _side(row: Row) -> list[Any]:
    low, high = row.interval or (None, None)
    return [row.mean, row.normalized, low, high, row.seconds, row.memory_mb, " ".join(row.data_access), row.seeds]


def _board(board: Board) -> dict[str, Any]:
    return {
        "modelpool": board.modelpool,
        "taskpool": board.taskpool,
        "tasks": list(board.tasks),
        "rows": [_row(row) for row in board.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "algorithm": row.name,
        "kind": row.kind,
        "group": row.letters or None,
        "accuracy": dict(row.accuracy),
        "mean": row.mean,
        "normalized": row.normalized,
        "interval": None if row.interval is None else list(row.interval),
        "seconds": row.seconds,
        "memory_mb": row.memory_mb,
        "data_access": list(row.data_access),
        "seeds": row.seeds,
        "measures": dict(row.measures),
    }


def _title(entry: Entry) -> str:
    return entry.board.title + (f" (examples {entry.data})" if entry.data else "")


def _has_letters(board: Board) -> bool:
    return any(row.letters for row in board.rows)


def _header(board: Board) -> list[str]:
    group = ["group"] if _has_letters(board) else []
    return ["#", "algorithm", *board.tasks, "mean", "95 %", *group, "normalised", "seconds", "MB"]


def _cells(board: Board, row: Row, *, bold: str) -> list[str]:
    """The cells of a row under `_header`; the name as it is."""

    def shown(column: str, value: float | None) -> str:
        text = "" if value is None else f"{100 * value:.1f}"
        return bold.format(text) if text and board.is_best(row, column) else text

    return [
        "" if row.rank is None else str(row.rank),
        row.title,
        *(shown(task, row.accuracy.get(task)) for task in board.tasks),
        shown("mean", row.mean),
        "" if row.interval is None else f"{100 * row.interval[0]:.1f}–{100 * row.interval[1]:.1f}",
        *([row.letters] if _has_letters(board) else []),
        shown("normalized", row.normalized),
        "" if row.seconds is None else f"{row.seconds:.1f}",
        "" if row.memory_mb is None else f"{row.memory_mb:.0f}",
    ]


def _md(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _ampersand(cells: Sequence[str]) -> str:
    return " & ".join(cells) + " \\\\"


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\n": " ",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
