"""Whether a case is as good as its baseline: pure arithmetic on two stored results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fusion_bench.regression.baseline import Baseline
from fusion_bench.regression.changes import changed_data, changes, same_environment
from fusion_bench.regression.diagnosis import diagnose, listed, moved, rounding_bound
from fusion_bench.regression.settings import Settings

MEAN = "mean"
FAILING = ("incomparable", "worse", "changed", "costlier")


@dataclass(frozen=True)
class Finding:
    """One thing the gate saw.

    Attributes:
        kind: "incomparable", "worse", "changed", "costlier"; or "better", which fails nothing.
        task: the task, "mean", or None where it is about the case as a whole.
        text: for a person, with figures.
    """

    kind: str
    task: str | None
    text: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one case.

    Attributes:
        status: the gravest kind of the findings, or "as before", or "new" where there is no baseline.
        diagnosis: where to look first.
        changes: what is not the same as when the baseline was made.
    """

    case: str
    status: str
    findings: tuple[Finding, ...] = ()
    diagnosis: str = ""
    changes: tuple[str, ...] = ()
    baseline: str = ""
    differences: Mapping[str, float] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Whether the case does not pass."""
        return self.status in FAILING

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Verdict:
        """Read what `to_dict` wrote.

        Example:
            >>> verdict = Verdict("ties-p-t", "changed", (Finding("changed", "mnist", "3 of 9"),))
            >>> Verdict.from_dict(verdict.to_dict()) == verdict
            True
        """
        findings = tuple(Finding(**found) for found in content["findings"])
        return cls(**{**content, "findings": findings, "changes": tuple(content["changes"])})


def judge(baseline: Baseline, now: Baseline, settings: Settings, *, cases: int = 1) -> Verdict:
    """Hold a result against its baseline.

    A case fails when its data are not the baseline's; when it is significantly worse on a task or in the mean; when it
    lost more than a tolerance; when it is deterministic and changed where it must not; or when it costs more.

    The tests are one-sided and exact: McNemar's per task, the sign-flip test of the mean over tasks. Their p-values are
    corrected by Holm within the case and by the number of cases (Bonferroni), so that a verdict stands when its own
    case is done and yet a night in which nothing changed fails anything with probability ≤ ``settings.level``. On
    another machine a part of the level is for what rounding may turn.

    Args:
        baseline, now: of the same case; ``now`` is a result made into a baseline (`from_result`).
        cases: how many cases are judged together.
    """
    since = tuple(changes(baseline, now))
    mark = f"{baseline.date}, {baseline.commit[:9] or 'no commit'}"
    others = changed_data(baseline, now)
    missing = [task for task in baseline.tasks if task not in now.outcomes]
    findings = [Finding("incomparable", task, "its examples are not the baseline's") for task in others]
    findings += [Finding("incomparable", task, "it was not evaluated") for task in missing]
    sizes = {
        t: (baseline.outcomes[t]["n"], now.outcomes[t]["n"]) for t in baseline.tasks if t not in (*missing, *others)
    }
    other = [task for task, (old, new) in sizes.items() if old != new]
    findings += [Finding("incomparable", t, f"{sizes[t][1]} examples, the baseline has {sizes[t][0]}") for t in other]
    lost = [name for name, was in baseline.reference_outcomes.items() if was and not now.reference_outcomes.get(name)]
    findings += [Finding("incomparable", None, f"{name} was not measured along with it") for name in lost]
    common = [task for task in sizes if task not in other]
    before, after = ({task: b.correct(task) for task in common} for b in (baseline, now))
    differences = {task: float(after[task].mean() - before[task].mean()) for task in common}
    fixed, here = baseline.deterministic and now.deterministic, same_environment(baseline, now)
    # what may alarm by chance shares the level: the tests always, rounding of references and results elsewhere
    level = settings.level / cases / (1 if here else 3 if fixed else 2)
    if common:
        differences[MEAN] = float(np.mean(list(differences.values())))
        findings += _worse(before, after, settings, level)
        worse = {finding.task for finding in findings if finding.kind == "worse"}
        if fixed:
            found = _changed(baseline, now, common, settings.rounding, level)
            findings += [finding for finding in found if finding.task not in worse]
    findings += [
        Finding("changed", None, f"the {name} model moved, whatever the method: {listed(tasks)}")
        for name, tasks in moved(baseline, now, settings.rounding, level).items()
    ]
    findings += _costlier(baseline, now, settings)
    kinds = {finding.kind for finding in findings}
    status = next((kind for kind in (*FAILING, "better") if kind in kinds), "as before")
    diagnosis = diagnose(baseline, now, settings.rounding) if kinds & set(FAILING) - {"costlier"} else ""
    return Verdict(now.id, status, tuple(findings), diagnosis, since, mark, differences)


def _worse(
    old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], settings: Settings, level: float
) -> list[Finding]:
    """Tasks, and the mean, that lost significantly or beyond a tolerance; or gained significantly."""
    from fusion_bench.metrics.mcnemar import mcnemar_tests
    from fusion_bench.metrics.multiplicity import holm
    from fusion_bench.metrics.sign_flip import sign_flip_test

    if all(np.array_equal(old[task], new[task]) for task in old):
        return []
    flips = mcnemar_tests(new, old)
    change = {task: new[task].astype(float) - old[task] for task in old}
    corrected = {}
    for way in ("less", "greater"):
        tests = mcnemar_tests(new, old, alternative=way)
        corrected[way] = holm(
            {MEAN: sign_flip_test(change, alternative=way), **{task: test.p_value for task, test in tests.items()}}
        )
    whole = float(np.mean([values.mean() for values in change.values()]))
    findings = []
    for name in (MEAN, *old):
        difference = whole if name == MEAN else flips[name].difference
        tolerance = settings.mean_tolerance if name == MEAN else settings.task_tolerance
        lost, gained = (corrected[way][name] for way in ("less", "greater"))
        if min(lost, gained) > level and difference >= -tolerance:
            continue
        kind = "worse" if difference < 0 else "better"
        tasks = old if name == MEAN else {name: old[name]}
        text = _moved({t: new[t] for t in tasks}, tasks)
        counts = "" if name == MEAN else f", lost {flips[name].lost}, gained {flips[name].gained}"
        p = min(lost, gained)
        sure = f"p = {p * settings.level / level:.2g} corrected" if p <= level else f"beyond {100 * tolerance:g}"
        findings.append(Finding(kind, name, f"{text}{counts}, {sure}"))
    return findings


def _moved(new: Mapping[str, np.ndarray], old: Mapping[str, np.ndarray]) -> str:
    """From where to where, by how much, and how sure that is: in per cent and points."""
    from fusion_bench.metrics.paired import paired_difference

    found = paired_difference(new, old)
    before = 100 * float(np.mean([values.mean() for values in old.values()]))
    span = f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
    return f"{before:.2f} → {before + 100 * found.difference:.2f} %, {100 * found.difference:+.2f} {span} points"


def _changed(baseline: Baseline, now: Baseline, tasks: Sequence[str], rounding: float, level: float) -> list[Finding]:
    """Tasks of a deterministic case that moved: at all on the baseline's own machine, beyond rounding on another.

    A share ``rounding`` of the examples may turn elsewhere. Half of ``level`` is for each task by itself, half for all
    tasks together, where a change too small for any one of them shows.
    """
    here = same_environment(baseline, now)
    sizes = {task: baseline.outcomes[task]["n"] for task in tasks}
    turned = {task: int((baseline.correct(task) != now.correct(task)).sum()) for task in tasks}
    findings = []
    for task, n in sizes.items():
        same = baseline.outcomes[task]["predictions"] == now.outcomes[task]["predictions"]
        bound = 0 if here else rounding_bound(n, rounding, level / 2 / len(tasks))
        if not (turned[task] > bound or (here and not same)):
            continue
        old, new = baseline.correct(task), now.correct(task)
        lost, gained = int((old & ~new).sum()), int((~old & new).sum())
        what = f"lost {lost}, gained {gained} of {n}, {100 * (gained - lost) / n:+.2f} points"
        if not turned[task]:
            what = "wrong answers became other wrong ones"
        what += ", with the same predictions" if same else ""
        way = "though machine and versions are the same" if here else f"rounding may turn {bound}"
        findings.append(Finding("changed", task, f"{what}; {way}"))
    whole, n = sum(turned.values()), sum(sizes.values())
    bound = 0 if here else rounding_bound(n, rounding, level / 2)
    if whole > bound and not findings:
        text = f"{whole} of {n} turned right or wrong, rounding may turn {bound}"
        findings.append(Finding("changed", "all tasks", text))
    return findings


def _costlier(baseline: Baseline, now: Baseline, settings: Settings) -> list[Finding]:
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


def message(verdict: Verdict, *, width: int = 12, most: int = 10) -> str:
    """A failing verdict as a person reads it, in a test's failure and in a job's summary."""
    how = {"worse": "is worse than", "changed": "is not what it was in", "costlier": "costs more than"}
    head = f"{verdict.case} {how.get(verdict.status, 'cannot be held against')} its baseline ({verdict.baseline})"
    shown: Sequence[Finding] = sorted(verdict.findings, key=lambda finding: finding.kind == "better")
    lines = [f"  {f.kind if f.task is None else f.task:<{width}} {f.text}" for f in shown[:most]]
    lines += [f"  and {len(shown) - most} more"] if len(shown) > most else []
    lines += [f"look at: {verdict.diagnosis}"] if verdict.diagnosis else []
    lines += ["since the baseline:", *(f"  {line}" for line in verdict.changes)] if verdict.changes else []
    lines += [f'if it is right: fusion_bench baseline accept "{verdict.case}" --because "…"']
    return "\n".join([head, *lines])
