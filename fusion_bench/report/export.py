"""A leaderboard for other programs: CSV, JSON, Markdown. Accuracies are fractions, except in Markdown (per cent)."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from fusion_bench.report.leaderboard import Board, Row

SCHEMA = 1


def to_csv(board: Board) -> str:
    """One line per row: rank (empty for reference rows), algorithm, kind, a column per task, then the summary columns.

    Example:
        >>> row = Row("ties", "merging", {"mnist": 0.5}, mean=0.5, rank=1)
        >>> print(to_csv(Board("p", "t", ("mnist",), (row,))).splitlines()[1])
        1,ties,merging,0.5,0.5,,,,,,
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    side = ["mean", "normalized", "interval_low", "interval_high", "seconds", "memory_mb", "data_access"]
    writer.writerow(["rank", "algorithm", "kind", *board.tasks, *side])
    for row in board.rows:
        low, high = row.interval or (None, None)
        values = [row.mean, row.normalized, low, high, row.seconds, row.memory_mb, " ".join(row.data_access)]
        writer.writerow([row.rank, row.name, row.kind, *map(row.accuracy.get, board.tasks), *values])
    return out.getvalue()


def to_json(board: Board) -> str:
    """The board as a JSON object with a ``schema`` number.

    Example:
        >>> row = Row("ties", "merging", {"mnist": 0.5}, mean=0.5, rank=1)
        >>> json.loads(to_json(Board("p", "t", ("mnist",), (row,))))["rows"][0]["accuracy"]
        {'mnist': 0.5}
    """
    rows = [_row(row) for row in board.rows]
    document = {
        "schema": SCHEMA,
        "modelpool": board.modelpool,
        "taskpool": board.taskpool,
        "tasks": list(board.tasks),
        "rows": rows,
    }
    return json.dumps(document, indent=2)


def to_markdown(board: Board) -> str:
    """A pipe table in per cent; the best method of each column is bold, reference rows are in italics.

    Example:
        >>> row = Row("ties", "merging", {"mnist": 0.5}, mean=0.5, interval=(0.46, 0.54), rank=1)
        >>> print(to_markdown(Board("p", "t", ("mnist",), (row,))))
        | # | algorithm | mnist | mean | 95 % | normalised | seconds | MB |
        |--:|:--|--:|--:|--:|--:|--:|--:|
        | 1 | ties | 50.0 | 50.0 | 46.0–54.0 |  |  |  |
        <BLANKLINE>
    """
    header = ["#", "algorithm", *board.tasks, "mean", "95 %", "normalised", "seconds", "MB"]
    lines = [_pipe(header), "|--:|:--|" + "--:|" * (len(header) - 2)]
    for row in board.rows:
        name = f"*{row.name}*" if row.is_reference else row.name
        cells = [
            "" if row.rank is None else str(row.rank),
            name.replace("|", "\\|"),
            *(_cell(board, row, task, row.accuracy.get(task)) for task in board.tasks),
            _cell(board, row, "mean", row.mean),
            "" if row.interval is None else f"{100 * row.interval[0]:.1f}–{100 * row.interval[1]:.1f}",
            _cell(board, row, "normalized", row.normalized),
            "" if row.seconds is None else f"{row.seconds:.1f}",
            "" if row.memory_mb is None else f"{row.memory_mb:.0f}",
        ]
        lines.append(_pipe(cells))
    return "\n".join(lines) + "\n"


def _row(row: Row) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "algorithm": row.name,
        "kind": row.kind,
        "accuracy": dict(row.accuracy),
        "mean": row.mean,
        "normalized": row.normalized,
        "interval": None if row.interval is None else list(row.interval),
        "seconds": row.seconds,
        "memory_mb": row.memory_mb,
        "data_access": list(row.data_access),
    }


def _cell(board: Board, row: Row, column: str, value: float | None) -> str:
    if value is None:
        return ""
    text = f"{100 * value:.1f}"
    return f"**{text}**" if board.is_best(row, column) else text


def _pipe(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
