"""What a protocol measures beside the mean: seen and unseen tasks, corruptions, numbers of experts or examples."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fusion_bench.report.page.groups import Group
from fusion_bench.report.page.outcomes import Outcomes
from fusion_bench.report.page.panels.panel import Chart, Panel, Series

_NUMBERED = re.compile(r"^(\d+)_(.+)$")
_SPREAD = "Bars reach from the smallest to the largest of what a mean is of: a spread, no confidence interval."


def protocols(group: Group, outcomes: Outcomes) -> Panel | None:
    """A chart for each metric of the groups that runs report; None where none does.

    Groups named by numbers (``2_tasks``, ``4_tasks``) are lines over them, others columns of a matrix.
    """
    found: dict[str, dict[str, dict[str, Sequence[float]]]] = {}
    means_of: dict[str, str] = {}
    for label, run in group.newest.items():
        for metric, name, points, of in reported(run.result):
            found.setdefault(metric, {}).setdefault(label, {})[name] = points
            means_of[name] = of
    if not found:
        return None
    kinds = set(means_of.values())
    of = kinds.pop() if len(kinds) == 1 else ", ".join(f"{kind} ({name})" for name, kind in means_of.items())
    charts = [_chart(metric, methods) for metric, methods in found.items()]
    text = [f"Each number is a mean over {of}."]
    return Panel("protocol", "Protocol", [*text, _SPREAD] if any(c.kind == "lines" for c in charts) else text, charts)


def reported(result: Mapping[str, Any]) -> Iterator[tuple[str, str, list[float], str]]:
    """(metric, group, points, what they are) of each group in a result; entries of another form are passed over.

    Example:
        >>> groups = [{"metric": "accuracy", "name": "seen", "points": [0.5, 0.7], "of": "tasks"}, "?"]
        >>> list(reported({"groups": groups}))
        [('accuracy', 'seen', [0.5, 0.7], 'tasks')]
    """
    groups = result.get("groups")
    for entry in groups if isinstance(groups, list) else []:
        if not isinstance(entry, Mapping):
            continue
        points = entry.get("points")
        if not isinstance(points, list) or not points or not all(isinstance(p, int | float) for p in points):
            continue
        yield str(entry.get("metric", "")), str(entry.get("name", "")), points, str(entry.get("of", ""))


def _chart(metric: str, methods: Mapping[str, Mapping[str, Sequence[float]]]) -> Chart:
    names = list(dict.fromkeys(name for groups in methods.values() for name in groups))
    ordered = sorted(methods, key=lambda label: -statistics.fmean(map(statistics.fmean, methods[label].values())))
    numbered = {name: match for name in names if (match := _NUMBERED.match(name))}
    title = metric[:1].upper() + metric[1:]
    if len(numbered) == len(names) > 1 and len({match[2] for match in numbered.values()}) == 1:
        lines = []
        for label in ordered:
            points = sorted((int(numbered[name][1]), values) for name, values in methods[label].items())
            lines.append(
                Series(
                    label,
                    [number for number, _ in points],
                    [statistics.fmean(values) for _, values in points],
                    [min(values) for _, values in points],
                    [max(values) for _, values in points],
                )
            )
        axis = numbered[names[0]][2]
        return Chart(title, series=lines, x_title=axis, y_title=f"mean {metric}", unit="%")
    means = {label: {name: statistics.fmean(values) for name, values in methods[label].items()} for label in ordered}
    z = [[means[label].get(name) for name in names] for label in ordered]
    return Chart(title, kind="matrix", rows=ordered, columns=names, z=z, unit="%")
