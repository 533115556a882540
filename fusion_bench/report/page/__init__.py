"""The report: one HTML file of everything a store knows, with nothing outside it. docs/report.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion_bench.report.page.panels import Panel
    from fusion_bench.report.page.payload import build_payload
    from fusion_bench.report.page.runs import Run
    from fusion_bench.report.page.write import Written, write_report

__all__ = ["Panel", "Run", "Written", "build_payload", "write_report"]

_HOMES = {
    "Panel": "panels",
    "Run": "runs",
    "Written": "write",
    "build_payload": "payload",
    "write_report": "write",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"fusion_bench.report.page.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fusion_bench.report.page' has no attribute {name!r}")
