"""What an analysis found of a pool's models before anything fused them: the tables of ``analysis.json`` as charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.report.page.panels.panel import Chart, Panel, Series

_TEXT = "What the models of the pool have in common before anything fuses them. Nothing here is a method's result."


def analysis_panels(documents: Iterable[Mapping[str, Any]]) -> dict[str, list[Panel]]:
    """By experiment of the pools, one panel with a chart for each table of the newest run of each analysis.

    Args:
        documents: the contents of ``analysis.json``, newest first.

    Raises:
        FusionBenchError: a document that is none of an analysis.

    Example:
        >>> table = {"title": "cosines", "measure": "cosine", "rows": ["a"], "columns": ["a"], "values": [[1.0]],
        ...          "view": "matrix"}
        >>> case = {"analysis": "cosines", "modelpool": "p", "taskpool": "t"}
        >>> (panel,) = analysis_panels([{"case": case, "tables": {"cosines": table}}])["p/t"]
        >>> panel.title, panel.charts[0].title, panel.charts[0].z
        ('Task vectors', 'cosines', [[1.0]])
    """
    charts: dict[str, dict[str, list[Chart]]] = {}
    for document in documents:
        try:
            case = document["case"]
            experiment = f"{case['modelpool']}/{case['taskpool']}"
            found = [_chart(table) for table in document["tables"].values()]
            name = str(case["analysis"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FusionBenchError(f"not the document of an analysis: {type(error).__name__}: {error}") from error
        charts.setdefault(experiment, {}).setdefault(name, found)
    return {
        experiment: [Panel("analysis", "Task vectors", [_TEXT], [c for own in by_name.values() for c in own])]
        for experiment, by_name in charts.items()
    }


def _chart(table: Mapping[str, Any]) -> Chart:
    if table["view"] == "lines":
        x = [float(column) for column in table["columns"]]
        lines = [Series(str(row), x, list(y)) for row, y in zip(table["rows"], table["values"], strict=True)]
        return Chart(
            title=table["title"],
            series=lines,
            x_title=table.get("column_axis", ""),
            y_title=table["measure"],
            digits=table.get("digits", 2),
            note=table.get("note", ""),
        )
    return Chart(
        title=table["title"],
        kind="matrix",
        rows=[str(row) for row in table["rows"]],
        columns=[str(column) for column in table["columns"]],
        z=[list(row) for row in table["values"]],
        x_title=table.get("column_axis", ""),
        y_title=table.get("row_axis", ""),
        low=table.get("low"),
        high=table.get("high"),
        centre=table.get("centre"),
        digits=table.get("digits", 2),
        note=f"{table['measure']}. {table.get('note', '')}".strip(),
    )
