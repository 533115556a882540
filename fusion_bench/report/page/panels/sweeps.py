"""Accuracy along a hyper-parameter: the values a search tried on validation data, and the cases that fixed one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fusion_bench.report.page.groups import Group
from fusion_bench.report.page.outcomes import Outcomes
from fusion_bench.report.page.panels.panel import Chart, Panel, Series

_TEXT = (
    "Dashed: mean accuracy on the validation split of every value that a search tried, the chosen one marked. Solid: "
    "mean accuracy on the test split, with 95 % intervals, of cases that were run with the value fixed."
)


def sweeps(group: Group, outcomes: Outcomes) -> Panel | None:
    """One chart a hyper-parameter; None where nothing was searched and no field overridden twice."""
    found: dict[str, list[Series]] = {}
    for label, run in group.newest.items():
        for field, series in searched(label, run.result.get("search") or {}):
            found.setdefault(field, []).append(series)
    for field, series in overridden(group, outcomes):
        found.setdefault(field, []).append(series)
    if not found:
        return None
    charts = [
        Chart(f"{field}", series=lines, x_title=field, y_title="mean accuracy", unit="%")
        for field, lines in sorted(found.items())
    ]
    return Panel("sweeps", "Hyper-parameters", [_TEXT], charts)


def searched(label: str, search: Mapping[str, Any]) -> list[tuple[str, Series]]:
    """(field, line) per searched field that is a number; of a grid, a line for each setting of the other fields.

    Example:
        >>> tried = [[{"scaling": 0.3}, 0.6], [{"scaling": 0.1}, 0.5]]
        >>> ((field, line),) = searched("ties", {"best": {"scaling": 0.3}, "tried": tried})
        >>> field, line.name, line.x, line.y, line.marked
        ('scaling', 'ties', [0.1, 0.3], [0.5, 0.6], 1)
    """
    tried = [(values, score) for values, score in search.get("tried", ()) if _is_number(score)]
    best = search.get("best", {})
    fields = [f for f in dict.fromkeys(f for values, _ in tried for f in values) if _along(f, tried)]
    found = []
    for field in fields:
        lines: dict[str, list[tuple[float, float, bool]]] = {}
        for values, score in tried:
            others = ", ".join(f"{k}={v}" for k, v in values.items() if k != field)
            lines.setdefault(others, []).append((float(values[field]), float(score), values == best))
        for others, points in lines.items():
            points.sort()
            chosen = [i for i, (_, _, is_best) in enumerate(points) if is_best]
            name = label + (f" ({others})" if others else "")
            x, y = [p[0] for p in points], [p[1] for p in points]
            found.append((field, Series(name, x, y, dashed=True, marked=chosen[0] if chosen else None)))
    return found


def overridden(group: Group, outcomes: Outcomes) -> list[tuple[str, Series]]:
    """(field, line) per method and field of which two values or more were run, everything else being equal."""
    lines: dict[tuple[str, str, str], list[tuple[float, float, tuple[float, float] | None]]] = {}
    for run in group.newest.values():
        case = run.result["case"]
        given = [str(override).removeprefix("algorithm.") for override in case.get("overrides", ())]
        rest = [f"seed={case['seed']}"] if case.get("seed") is not None else []
        for override in given:
            field, _, text = override.partition("=")
            value = number(text)
            if value is not None:
                others = ",".join([other for other in given if other != override] + rest)
                mean = run.result["metrics"]["accuracy/mean"]
                key = (field, case["algorithm"], others)
                lines.setdefault(key, []).append((value, mean, outcomes.interval(run.run_id)))
    found = []
    for (field, algorithm, others), points in sorted(lines.items()):
        points.sort(key=lambda point: point[0])
        if len({value for value, _, _ in points}) < 2:
            continue
        name = algorithm + (f" [{others}]" if others else "")
        low, high = (_column(interval[side] if interval else None for _, _, interval in points) for side in (0, 1))
        found.append((field, Series(name, _column(p[0] for p in points), _column(p[1] for p in points), low, high)))
    return found


def number(text: str) -> float | None:
    """The number that a text is, None where it is none.

    Example:
        >>> number("0.4"), number("1e-2"), number("nan"), number("mnist")
        (0.4, 0.01, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _along(field: str, tried: Iterable[tuple[Mapping[str, Any], float]]) -> bool:
    values = [values.get(field) for values, _ in tried]
    return all(_is_number(value) for value in values) and len(set(values)) > 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _column(values: Iterable[Any]) -> list[Any]:
    return list(values)
