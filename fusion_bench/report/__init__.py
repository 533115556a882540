"""What a reader sees of the results: leaderboards, figures, exports. Nothing here computes a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.lazy import late

if TYPE_CHECKING:
    from fusion_bench.report.export import to_csv, to_json, to_markdown
    from fusion_bench.report.leaderboard import Board, Row, leaderboards
    from fusion_bench.report.plots import case_figure, comparison_figure
    from fusion_bench.report.table import render

__all__ = [
    "Board",
    "Row",
    "case_figure",
    "comparison_figure",
    "leaderboards",
    "render",
    "to_csv",
    "to_json",
    "to_markdown",
]

__getattr__ = late(
    __name__,
    {
        "Board": "leaderboard",
        "Row": "leaderboard",
        "leaderboards": "leaderboard",
        "case_figure": "plots",
        "comparison_figure": "plots",
        "render": "table",
        "to_csv": "export",
        "to_json": "export",
        "to_markdown": "export",
    },
)
