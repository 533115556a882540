"""The report: one HTML file of everything a store knows, with nothing outside it. docs/report.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.lazy import late

if TYPE_CHECKING:
    from fusion_bench.report.page.panels import Panel
    from fusion_bench.report.page.payload import build_payload
    from fusion_bench.report.page.runs import Run
    from fusion_bench.report.page.write import Written, write_report

__all__ = ["Panel", "Run", "Written", "build_payload", "write_report"]

__getattr__ = late(
    __name__,
    {
        "Panel": "panels",
        "Run": "runs",
        "Written": "write",
        "build_payload": "payload",
        "write_report": "write",
    },
)
