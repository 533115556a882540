"""Parts of a board that not every pool has: functions that give a `Panel`, or None where there is nothing to show."""

from fusion_bench.report.page.panels.panel import Chart, Panel, Series, Table

__all__ = ["Chart", "Panel", "Series", "Table"]
