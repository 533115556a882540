"""What tasks measure beside what they are scored by: errors, angles, correlations, the harness' other numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_bench.report.measures import LEGEND, grid
from fusion_bench.report.page.panels.panel import Panel, Table

_TEXT = (
    f"What tasks measure beside what they are scored by. {LEGEND} Without an arrow nobody said which, or it is a "
    "standard error."
)


def measures(rows: Sequence[Mapping[str, Any]]) -> Panel | None:
    """A table of the methods that have such measures, a column each; None where none has.

    Args:
        rows: of the leaderboard, in its order (`page.rows.rows_of`).

    Example:
        >>> measures([{"name": "ties", "measures": {"rmse/depth": 0.5}}]).tables[0].rows
        [['ties', '0.5000']]
    """
    columns, cells = grid([(row["name"], row["measures"]) for row in rows])
    if not cells:
        return None
    without = [row["name"] for row in rows if not row["measures"]]
    text = _TEXT + (f" No such numbers are kept of {', '.join(without)}." if without else "")
    table = Table("Best mean first, as on the leaderboard", ["method", *columns], cells, written=True)
    return Panel("measures", "Other measures", [text], tables=[table])
