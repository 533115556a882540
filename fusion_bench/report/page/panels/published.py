"""Numbers that others published for the same method on the same models and tasks, beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.report.page.groups import Group
from fusion_bench.report.page.outcomes import Outcomes
from fusion_bench.report.page.panels.panel import Cell, Panel, Table
from fusion_bench.report.page.runs import Run

if TYPE_CHECKING:
    from fusion_bench.report.published import Beside
    from fusion_bench.report.published import Table as PublishedTable

_TEXT = (
    "A row has something beside it where a published table is of the same pools, algorithm and options. "
    '"Inside" says whether a number that would be printed like the published one lies in our 95 % interval, which is '
    "about the sampling of test examples only."
)


_COLUMNS = (
    "method",
    "paper and here",
    "inside",
    "published as",
    "table",
    "task that differs most",
    "by",
    "protocols differ in",
)


def published(group: Group, outcomes: Outcomes, tables: Sequence[PublishedTable]) -> Panel | None:
    """A table of the rows that have a published counterpart; None where none has.

    Args:
        tables: what others published (`report.published.tables`).
    """
    from fusion_bench.report.published import beside

    known = [table for table in tables if (table.modelpool, table.taskpool) == (group.modelpool, group.taskpool)]
    if not known:
        return None
    try:
        found = beside([_result(run, outcomes) for run in group.newest.values()], known)
    except FusionBenchError as error:  # a pool of somebody's own, whose YAML is not here
        return Panel("published", "Published numbers", [f"Cannot be shown: {error.message}"])
    rows = [_row(row) for row in found]
    shown = [Table("In % where no unit stands", _COLUMNS, rows)]
    return Panel("published", "Published numbers", [_TEXT], tables=shown) if rows else None


def _row(row: Beside) -> list[Cell]:
    farthest = max(row.differences.items(), key=lambda item: abs(item[1]), default=("–", None))
    return [
        row.name,
        row.text,
        {True: "yes", False: "no", None: "–"}[row.inside],
        row.method,
        row.table,
        farthest[0],
        None if farthest[1] is None else round(farthest[1], 2),
        row.differs or "–",
    ]


def _result(run: Run, outcomes: Outcomes) -> Mapping[str, Any]:
    interval = outcomes.interval(run.run_id)
    return {**run.result, "interval": list(interval)} if interval else run.result
