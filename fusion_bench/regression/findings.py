"""What the gate sees in the outcomes of one fusion, then and now, and in what it cost: pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion_bench.metrics.packing import are_shared
from fusion_bench.regression.baseline import Baseline, outcome_of
from fusion_bench.regression.diagnosis import rounding_bound, turned
from fusion_bench.regression.settings import Settings

MEAN = "mean"
Clusters = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Finding:
    """One thing the gate saw.

    Attributes:
        kind: "incomparable", "worse", "changed", "costlier"; or "better" and "unjudged", which fail nothing.
        task: the task, "mean", in front of either ``<trial>/`` where it is no main trial; or None where it is about the
            case as a whole.
        text: for a person, with figures.
    """

    kind: str
    task: str | None
    text: str


@dataclass(frozen=True)
class Fusion:
    """The outcomes of one fusion, of a case's main trial or of another, in the baseline and now.

    Attributes:
        name: of the trial; empty for the main one.
        old, new: outcomes by task, as in a baseline; on the same examples.
        tasks: that both have.
        clusters: which source each example comes from; tasks left out have examples that stand alone.
        where: what errors call the baseline.
    """

    name: str
    old: Mapping[str, Mapping[str, Any]]
    new: Mapping[str, Mapping[str, Any]]
    tasks: Sequence[str]
    clusters: Clusters = field(default_factory=dict)
    where: str = ""

    def label(self, task: str) -> str:
        """The task as findings call it."""
        return f"{self.name}/{task}" if self.name else task

    def shared(self) -> dict[str, np.ndarray]:
        """The sources of the tasks in which any two examples share one."""
        sizes = {task: self.old[task]["n"] for task in self.tasks}
        found = {task: labels for task, labels in self.clusters.items() if len(labels) == sizes.get(task)}
        return {task: labels for task, labels in found.items() if are_shared(labels)}


def judged(
    fusion: Fusion, settings: Settings, level: float, *, fixed: bool, here: bool
) -> tuple[list[Finding], dict[str, float]]:
    """What is worse, changed or better in a fusion, and its difference on each task and in the mean.

    Args:
        level: chance of an alarm that this fusion may raise where nothing changed.
        fixed: it may not change at all, but for rounding.
        here: on the machine and with the versions of the baseline.
    """
    before, after = (
        {task: outcome_of(outcomes[task], f"{fusion.where}task {fusion.label(task)}") for task in fusion.tasks}
        for outcomes in (fusion.old, fusion.new)
    )
    if not fusion.tasks:
        return [], {}
    differences = {task: float(after[task].mean() - before[task].mean()) for task in fusion.tasks}
    differences[MEAN] = float(np.mean(list(differences.values())))
    findings = _worse(fusion, before, after, settings, level)
    worse = {finding.task for finding in findings if finding.kind == "worse"}
    if fixed:
        found = _changed(fusion, before, after, settings.rounding, level, here)
        findings += [finding for finding in found if finding.task not in worse]
    return findings, {fusion.label(task): difference for task, difference in differences.items()}


def _worse(
    fusion: Fusion, old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], settings: Settings, level: float
) -> list[Finding]:
    """Tasks, and the mean, that lost significantly or beyond a tolerance; or gained significantly."""
    from fusion_bench.metrics.mcnemar import mcnemar_tests
    from fusion_bench.metrics.multiplicity import holm
    from fusion_bench.metrics.sign_flip import sign_flip_test

    if all(np.array_equal(old[task], new[task]) for task in old):
        return []
    clusters = fusion.shared()
    counted = [task for task in old if old[task].dtype == new[task].dtype == np.bool_]  # the others have scores
    both = [{task: side[task] for task in counted} for side in (new, old)]
    flips = mcnemar_tests(*both) if counted else {}
    change = {task: new[task].astype(float) - old[task] for task in old}
    corrected = {}
    for way in ("less", "greater"):
        exact = mcnemar_tests(*both, alternative=way) if counted else {}
        tests = {task: exact[task].p_value for task in old if task in exact and task not in clusters}
        for task in old:
            if task not in tests:
                of = {task: clusters[task]} if task in clusters else None
                tests[task] = sign_flip_test({task: change[task]}, clusters=of, alternative=way)
        corrected[way] = holm({MEAN: sign_flip_test(change, clusters=clusters or None, alternative=way), **tests})
    whole = float(np.mean([values.mean() for values in change.values()]))
    findings = []
    for name in (MEAN, *old):
        difference = whole if name == MEAN else float(change[name].mean())
        tolerance = settings.mean_tolerance if name == MEAN else settings.task_tolerance
        lost, gained = (corrected[way][name] for way in ("less", "greater"))
        if min(lost, gained) > level and difference >= -tolerance:
            continue
        kind = "worse" if difference < 0 else "better"
        tasks = old if name == MEAN else {name: old[name]}
        text = _moved({t: new[t] for t in tasks}, tasks, {t: clusters[t] for t in tasks if t in clusters})
        counts = f", lost {flips[name].lost}, gained {flips[name].gained}" if name in flips else ""
        counts += f" (of {len(np.unique(clusters[name]))} sources)" if name in clusters else ""
        p = min(lost, gained)
        sure = f"p = {p * settings.level / level:.2g} corrected" if p <= level else f"beyond {100 * tolerance:g}"
        findings.append(Finding(kind, fusion.label(name), f"{text}{counts}, {sure}"))
    return findings


def _moved(new: Mapping[str, np.ndarray], old: Mapping[str, np.ndarray], clusters: Clusters) -> str:
    """From where to where, by how much, and how sure that is: in per cent and points."""
    from fusion_bench.metrics.paired import paired_difference

    found = paired_difference(new, old, clusters=clusters or None)
    before = 100 * float(np.mean([values.mean() for values in old.values()]))
    span = f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
    return f"{before:.2f} → {before + 100 * found.difference:.2f} %, {100 * found.difference:+.2f} {span} points"


def _changed(
    fusion: Fusion,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    rounding: float,
    level: float,
    here: bool,
) -> list[Finding]:
    """Tasks of a deterministic case that moved: at all on the baseline's own machine, beyond rounding on another.

    A share ``rounding`` of the examples may turn elsewhere. Half of ``level`` is for each task by itself, half for all
    tasks together, where a change too small for any one of them shows.
    """
    tasks = fusion.tasks
    sizes = {task: len(before[task]) for task in tasks}
    turns = {task: turned(before[task], after[task]) for task in tasks}
    findings = []
    for task, n in sizes.items():
        same = fusion.old[task]["predictions"] == fusion.new[task]["predictions"]
        bound = 0 if here else rounding_bound(n, rounding, level / 2 / len(tasks))
        if not (turns[task] > bound or (here and not same)):
            continue
        what = _what_changed(before[task], after[task])
        if not turns[task]:
            same_kind = before[task].dtype == after[task].dtype == np.bool_
            what = "wrong answers became other wrong ones" if same_kind else "scores moved, and not their mean"
        what += ", with the same predictions" if same else ""
        way = "though machine and versions are the same" if here else f"rounding may turn {bound}"
        findings.append(Finding("changed", fusion.label(task), f"{what}; {way}"))
    whole, n = sum(turns.values()), sum(sizes.values())
    bound = 0 if here else rounding_bound(n, rounding, level / 2)
    if whole > bound and not findings:
        text = f"{whole:.0f} of {n} turned right or wrong, rounding may turn {bound}"
        findings.append(Finding("changed", fusion.label("all tasks"), text))
    return findings


def _what_changed(old: np.ndarray, new: np.ndarray) -> str:
    points = 100 * (float(new.mean()) - float(old.mean()))
    if not old.dtype == new.dtype == np.bool_:
        return f"the scores of {int((old != new).sum())} of {len(old)} examples moved, {points:+.2f} points"
    lost, gained = int((old & ~new).sum()), int((~old & new).sum())
    return f"lost {lost}, gained {gained} of {len(old)}, {points:+.2f} points"


def costlier(baseline: Baseline, now: Baseline, settings: Settings) -> list[Finding]:
    """Fusion that takes much longer, or much more memory."""
    old, new = baseline.costs, now.costs
    findings = []
    if {"fusion_ratio", "fusion_seconds"} <= old.keys() & new.keys():
        ratio = new["fusion_ratio"] / max(old["fusion_ratio"], 1e-12)
        # a machine twice as slow takes twice the seconds and the same ratio
        if new["fusion_seconds"] > settings.fusion_seconds and ratio > settings.fusion_ratio:
            work = f"{new['fusion_ratio']:.0f} times the calibration kernel's work ({new['fusion_seconds']:.2f} s)"
            findings.append(Finding("costlier", None, f"fusion took {work}; the baseline {old['fusion_ratio']:.0f}"))
    if "fusion_memory_mb" in old and "fusion_memory_mb" in new:
        allowed = settings.memory_ratio * old["fusion_memory_mb"] + settings.memory_mb
        if new["fusion_memory_mb"] > allowed:
            findings.append(
                Finding(
                    "costlier",
                    None,
                    f"fusion took {new['fusion_memory_mb']:.0f} MB; the baseline {old['fusion_memory_mb']:.0f}, "
                    f"allowed {allowed:.0f}",
                )
            )
    return findings
