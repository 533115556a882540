"""The same case night after night: where it changed, and between which commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusion_bench.report.page.groups import Group
from fusion_bench.report.page.outcomes import LEVEL, Outcomes
from fusion_bench.report.page.rows import versions_of
from fusion_bench.report.page.runs import Run, commit_of

RULE = (
    "A run is compared with the first run after the last change of its case, example by example. It is a change where "
    "the interval of the mean difference excludes zero, at a level at which all comparisons of this board together "
    f"err in at most {round(100 * (1 - LEVEL))} of 100 reports (Bonferroni over all runs but the first of each case)."
)


def history_of(group: Group, outcomes: Outcomes) -> dict[str, Any] | None:
    """Every case that ran more than once, oldest run first, with its changes; None where none did.

    ``series``: label, ``points`` (started in ms since 1970, mean, low, high, commit, run id, whether its outcomes are
    those of the run before). ``changes``: what `RULE` finds, newest first.
    """
    cases: dict[str, list[Run]] = {}
    for run in reversed(group.runs):
        cases.setdefault(run.label, []).append(run)
    repeated = {label: runs for label, runs in cases.items() if len(runs) > 1}
    if not repeated:
        return None
    comparisons = sum(len(runs) - 1 for runs in repeated.values())
    changes = [change for runs in repeated.values() for change in _changes(runs, outcomes, comparisons)]
    changes.sort(key=lambda change: (-change["at"], change["label"]))
    series = [{"label": label, "points": _points(runs, outcomes)} for label, runs in sorted(repeated.items())]
    return {"series": series, "changes": changes, "comparisons": comparisons, "rule": RULE}


def _points(runs: Sequence[Run], outcomes: Outcomes) -> list[list[Any]]:
    points = []
    before: Run | None = None
    for run in runs:
        known = run.run_id in outcomes.correct
        low, high = outcomes.interval(run.run_id) or run.result.get("interval") or (None, None)
        repeats = bool(
            known and before and before.run_id in outcomes.correct and outcomes.same(run.run_id, before.run_id)
        )
        mean = run.result["metrics"]["accuracy/mean"]
        points.append([_milliseconds(run), mean, low, high, commit_of(run), run.run_id[:8], repeats])
        before = run
    return points


def _changes(runs: Sequence[Run], outcomes: Outcomes, comparisons: int) -> list[dict[str, Any]]:
    from fusion_bench.metrics.paired import paired_difference_interval

    level = 1 - (1 - LEVEL) / comparisons
    clusters = outcomes.clusters or None
    found = []
    known = [run for run in runs if run.run_id in outcomes.correct]
    if not known:
        return []
    reference = before = known[0]
    for run in known[1:]:
        if not outcomes.same(run.run_id, reference.run_id):
            now, then = outcomes.correct[run.run_id], outcomes.correct[reference.run_id]
            difference, low, high = paired_difference_interval(now, then, level=level, clusters=clusters)
            if low > 0 or high < 0:
                found.append(
                    {
                        "label": run.label,
                        "at": _milliseconds(run),
                        "difference": difference,
                        "interval": [low, high],
                        "since": {"run": before.run_id, "commit": commit_of(before)},
                        "until": {"run": run.run_id, "commit": commit_of(run)},
                        "tasks": _tasks(now, then, outcomes.clusters),
                        "versions": _versions(before, run),
                    }
                )
                reference = run
        before = run
    return found


def _tasks(now: Mapping[str, Any], then: Mapping[str, Any], clusters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tasks that changed, Holm-corrected over the tasks, largest difference first."""
    from fusion_bench.metrics.multiplicity import holm
    from fusion_bench.metrics.sign_flip import sign_flip_test

    differences = {task: now[task].astype(np.float64) - then[task] for task in now}
    tested = {
        task: sign_flip_test({task: values}, clusters={task: clusters[task]} if task in clusters else None)
        for task, values in differences.items()
    }
    corrected = holm(tested)
    found = [
        {"task": task, "difference": float(differences[task].mean()), "p": p}
        for task, p in corrected.items()
        if p <= 1 - LEVEL
    ]
    return sorted(found, key=lambda item: -abs(item["difference"]))


def _versions(before: Run, after: Run) -> list[str]:
    old, new = versions_of(before), versions_of(after)
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return [f"{name} {old.get(name, '–')} → {new.get(name, '–')}" for name in names]


def _milliseconds(run: Run) -> int:
    return int(run.started.timestamp() * 1000)
