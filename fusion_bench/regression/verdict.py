"""Whether a case is as good as its baseline: pure arithmetic on two stored results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fusion_bench.regression.baseline import MAIN, Baseline
from fusion_bench.regression.changes import changed_data, changes, same_environment
from fusion_bench.regression.diagnosis import diagnose, listed, moved
from fusion_bench.regression.findings import MEAN, Clusters, Finding, Fusion, costlier, judged
from fusion_bench.regression.settings import Settings

__all__ = ["FAILING", "MEAN", "Finding", "Verdict", "judge", "message"]

FAILING = ("incomparable", "worse", "changed", "costlier")


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


def judge(
    baseline: Baseline,
    now: Baseline,
    settings: Settings,
    *,
    cases: int = 1,
    sources: Mapping[str, Clusters] | None = None,
) -> Verdict:
    """Hold a result against its baseline.

    A case fails when its data are not the baseline's; when it is significantly worse on a task or in the mean; when it
    lost more than a tolerance; when it is deterministic and changed where it must not; or when it costs more. Of a
    protocol every trial that the baseline holds is judged so; where it holds none but the main one, that is said.

    The tests are one-sided and exact: McNemar's per task, the sign-flip test of the mean over tasks and of tasks whose
    examples share sources. Their p-values are corrected by Holm within a trial and by the number of cases (Bonferroni),
    so that a verdict stands when its own case is done and yet a night in which nothing changed fails anything with
    probability ≤ ``settings.level``. On another machine a part of the level is for what rounding may turn. Where there
    are other trials, half of the level is for the main one, and they share the other half alike.

    Args:
        baseline, now: of the same case; ``now`` is a result made into a baseline (`from_result`).
        cases: how many cases are judged together.
        sources: which examples share a source, by trial and task (`sources_of` the result); the main trial's serve
            those that have none of their own.
    """
    since = tuple(changes(baseline, now))
    mark = f"{baseline.date}, {baseline.commit[:9] or 'no commit'}"
    others = changed_data(baseline, now)
    findings = [Finding("incomparable", task, "its examples are not the baseline's") for task in others]
    main = _fusion(baseline, now, MAIN, sources or {}, skip=others)
    findings += _incomparable(main, skip=others)
    lost = [name for name, was in baseline.reference_outcomes.items() if was and not now.reference_outcomes.get(name)]
    findings += [Finding("incomparable", None, f"{name} was not measured along with it") for name in lost]
    fixed, here = baseline.deterministic and now.deterministic, same_environment(baseline, now)
    # what may alarm by chance shares the level: the tests always, rounding of references and results elsewhere
    level = settings.level / cases / (1 if here else 3 if fixed else 2)
    share = level / 2 if baseline.trials else level
    found, differences = judged(main, settings, share, fixed=fixed, here=here)
    findings += found
    for name in baseline.trials:
        trial, more = _trial(baseline, now, name, sources or {})
        findings += more
        if trial is not None:
            part = level / 2 / len(baseline.trials)
            found, of_trial = judged(trial, settings, part, fixed=fixed, here=here)
            findings, differences = findings + found, differences | of_trial
    if now.trials and not baseline.trials:
        text = f"its baseline holds the main trial alone: {len(now.trials)} others were not judged"
        findings.append(Finding("unjudged", None, text))
    findings += [
        Finding("changed", None, f"the {name} model moved, whatever the method: {listed(tasks)}")
        for name, tasks in moved(baseline, now, settings.rounding, level).items()
    ]
    findings += costlier(baseline, now, settings)
    kinds = {finding.kind for finding in findings}
    status = next((kind for kind in (*FAILING, "better") if kind in kinds), "as before")
    diagnosis = diagnose(baseline, now, settings.rounding) if kinds & set(FAILING) - {"costlier"} else ""
    return Verdict(now.id, status, tuple(findings), diagnosis, since, mark, differences)


def _fusion(
    baseline: Baseline, now: Baseline, name: str, sources: Mapping[str, Clusters], *, skip: Sequence[str]
) -> Fusion:
    """A trial then and now, with the tasks that can be compared."""
    old, new = (b.outcomes_of(name) for b in (baseline, now))
    tasks = [t for t in old if t in new and t not in skip and old[t]["n"] == new[t]["n"]]
    clusters = {**sources.get(MAIN, {}), **sources.get(name, {})}
    return Fusion(name, old, new, tasks, clusters, where=f"baseline of {baseline.id}, ")


def _incomparable(fusion: Fusion, *, skip: Sequence[str]) -> list[Finding]:
    missing = [task for task in fusion.old if task not in fusion.new]
    findings = [Finding("incomparable", fusion.label(task), "it was not evaluated") for task in missing]
    for task in fusion.old:
        if task not in (*missing, *skip, *fusion.tasks):
            sizes = f"{fusion.new[task]['n']} examples, the baseline has {fusion.old[task]['n']}"
            findings.append(Finding("incomparable", fusion.label(task), sizes))
    return findings


def _trial(
    baseline: Baseline, now: Baseline, name: str, sources: Mapping[str, Clusters]
) -> tuple[Fusion | None, list[Finding]]:
    """A trial beside the main one, and what cannot be compared of it."""
    if name not in now.trials:
        return None, [Finding("incomparable", name, "the trial was not run")]
    # where the main trial's examples changed as well, that has been said
    others = [task for task in baseline.outcomes_of(name) if baseline.data_of(name, task) != now.data_of(name, task)]
    said = changed_data(baseline, now)
    findings = [
        Finding("incomparable", f"{name}/{task}", "its examples are not the baseline's")
        for task in others
        if task not in said and task in now.outcomes_of(name)
    ]
    fusion = _fusion(baseline, now, name, sources, skip=others)
    return fusion, findings + _incomparable(fusion, skip=others)


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
