"""What tasks measure beside what they are scored by: which numbers, under which heading, with how many digits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fusion_bench.metrics.measures import measure

# metrics of every task, which a leaderboard shows or is made of; costs are of no task
_COMMON = ("accuracy", "normalized", "loss", "calibration_error", "cost")
_ARROWS = {"higher": "\u00a0↑", "lower": "\u00a0↓", None: ""}  # on the line of what they are about

LEGEND = "As logged: shares are fractions. ↑: higher is better, ↓: lower is better."


def other_measures(result: Mapping[str, Any]) -> dict[str, float]:
    """``metric/task`` of a result to its value, task by task, in the order in which a task reports them.

    Neither what every task has (accuracy, loss, …), nor the metric that a task is scored by: that is its accuracy.

    Args:
        result: as `CaseResult.to_dict` gives it.

    Example:
        >>> metrics = {"accuracy/depth": 0.7, "delta1/depth": 0.7, "rmse/depth": 0.5, "cost/fusion_seconds": 1.0}
        >>> other_measures({"tasks": ["depth"], "scored_by": {"depth": "delta1"}, "metrics": metrics})
        {'rmse/depth': 0.5}
    """
    found = {}
    for task in result["tasks"]:
        known = {*_COMMON, result.get("scored_by", {}).get(task)}
        for key, value in result["metrics"].items():
            name = key.removesuffix(f"/{task}")
            if name != key and name not in known:
                found[key] = value
    return found


def mean_measures(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """`other_measures` of one result, or the means over several seeds of those that all of them have.

    Example:
        >>> results = [{"tasks": ["a"], "metrics": {"f1/a": value}} for value in (0.25, 0.75)]
        >>> mean_measures(results)
        {'f1/a': 0.5}
    """
    found = [other_measures(result) for result in results]
    shared = [key for key in found[0] if all(key in one for one in found)]
    return {key: math.fsum(one[key] for one in found) / len(found) for key in shared}


def heading(key: str) -> str:
    """A column's: the name under which it is logged, its unit, and an arrow to where better is, if that is known.

    Example:
        >>> print(heading("absolute_error/depth"), heading("matthews/cola"), heading("acc_stderr/arc"), sep=" | ")
        absolute_error/depth, m ↓ | matthews/cola ↑ | acc_stderr/arc
    """
    known = measure(key.partition("/")[0])
    return key + (f", {known.unit}" if known.unit else "") + _ARROWS[known.better]


def places(values: Iterable[float]) -> int:
    """The decimal places that give the largest of some numbers four digits, six at most.

    Example:
        >>> places([30.41234, 8.5]), places([0.551234]), places([1234.5]), places([])
        (2, 4, 0, 4)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(6, max(0, 3 - math.floor(math.log10(largest)))) if largest else 4


def grid(rows: Sequence[tuple[str, Mapping[str, float]]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table: the measures that any method has, and the methods that have any, with their name.

    Args:
        rows: name and measures of each method, in the order to show them.

    Example:
        >>> grid([("ties", {"acc_stderr/arc": 0.5}), ("experts", {})])
        (['acc_stderr/arc'], [['ties', '0.5000']])
    """
    rows = [row for row in rows if row[1]]
    keys = list(dict.fromkeys(key for _, found in rows for key in found))
    digits = {key: places(found[key] for _, found in rows if key in found) for key in keys}
    return [heading(key) for key in keys], [
        [name, *(f"{found[key]:.{digits[key]}f}" if key in found else "" for key in keys)] for name, found in rows
    ]
