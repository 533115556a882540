"""Two runs, or two sets of runs, on the same examples: differences with intervals and tests. Pure, no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.measures import is_standard_error
from fusion_bench.report.measures import mean_measures

if TYPE_CHECKING:
    from fusion_bench.metrics.paired import PairedDifference
    from fusion_bench.metrics.seeds import SeededDifference

MEAN = "mean"
Outcomes = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Line:
    """One task of two runs, the mean over tasks, or one case of two sets.

    ``first`` and ``second`` are accuracies, ``difference`` = first − second with its 95 % interval, all in [-1, 1];
    ``gained`` and ``lost`` count the examples that only the first, only the second has right (None for a mean, and
    where a task is not scored by right and wrong);
    ``p_value`` is corrected by Holm over the lines it stands among.
    """

    name: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    gained: int | None = None
    lost: int | None = None

    def is_significant(self, level: float = 0.05) -> bool:
        """Whether the two differ, at a level that holds for all lines together."""
        return self.p_value <= level


@dataclass(frozen=True)
class OtherMeasure:
    """What a task measures beside what it is scored by: ``name`` is ``metric/task``, the numbers as logged.

    ``difference`` = first − second, without interval and test: nothing is kept of single examples.
    """

    name: str
    first: float
    second: float
    difference: float


@dataclass(frozen=True)
class Comparison:
    """Lines with what they rest on.

    Attributes:
        examples: how many each line of the mean rests on.
        clustered: tasks whose examples were counted by the source they share.
        detectable: the smallest difference of the mean that so many examples find 8 times in 10, where as many of them
            are discordant as here; None of sets, and where none can be found.
        notes: what was left out, and why.
        seed_deviations: where a side has several seeds, of each side the standard deviation of the mean from seed to
            seed; 0 of a single run.
        measures: what both sides measure beside that; empty of sets.
    """

    lines: tuple[Line, ...]
    examples: int
    clustered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    detectable: float | None = None
    seed_deviations: tuple[float, float] | None = None
    measures: tuple[OtherMeasure, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        from dataclasses import asdict

        return asdict(self)


def common_tasks(
    first: Mapping[str, str], second: Mapping[str, str], *, names: tuple[str, str] = ("the first", "the second")
) -> tuple[list[str], list[str]]:
    """The tasks that two runs evaluated on the same examples, and a note for each other one.

    Args:
        first, second: digest of the examples, by task.

    Raises:
        FusionBenchError: no task in common.

    Example:
        >>> common_tasks({"a": "1", "b": "2"}, {"a": "1", "b": "3"})
        (['a'], ['b: left out, the two were evaluated on other examples'])
    """
    shared = [task for task in first if task in second and first[task] == second[task]]
    notes = []
    for task in dict.fromkeys([*first, *second]):
        if task in shared:
            continue
        whose = [name for name, data in zip(names, (first, second), strict=True) if task not in data]
        why = f"{whose[0]} has not evaluated it" if whose else "the two were evaluated on other examples"
        notes.append(f"{task}: left out, {why}")
    if not shared:
        raise FusionBenchError(
            f"{names[0]} and {names[1]} share no task with the same examples: they cannot be compared",
            hint="; ".join(notes[:4]) or "neither says what it was evaluated on",
        )
    return shared, notes


def other_measures(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], tasks: Sequence[str]
) -> tuple[OtherMeasure, ...]:
    """What both sides measure of some tasks beside what these are scored by; standard errors are left out.

    Args:
        first, second: the results of a side, one a seed (`CaseResult.to_dict`); the means over seeds are compared.

    Example:
        >>> a, b = ({"tasks": ["t"], "metrics": {"f1/t": value}} for value in (0.75, 0.5))
        >>> other_measures([a], [b], ["t"])
        (OtherMeasure(name='f1/t', first=0.75, second=0.5, difference=0.25),)
    """
    a, b = (mean_measures([{**result, "tasks": list(tasks)} for result in side]) for side in (first, second))
    shared = [key for key in a if key in b and not is_standard_error(key.partition("/")[0])]
    return tuple(OtherMeasure(key, a[key], b[key], a[key] - b[key]) for key in shared)


def compare_runs(
    first: Outcomes, second: Outcomes, *, clusters: Mapping[str, np.ndarray] | None = None, notes: Sequence[str] = ()
) -> Comparison:
    """Every task of two runs and their mean over tasks.

    Per task McNemar's exact test, or where the examples share sources the sign-flip test over sources, as also where
    they have scores; for the mean the sign-flip test; all corrected together by Holm.

    Args:
        first, second: which examples each has right, bool ``(n,)`` by task, in the same order; or float64 ``(n,)``
            scores, whose mean is the task's metric.
        clusters: which source each example comes from, by task; tasks left out have examples that stand alone.

    Example:
        >>> a, b = {"t": np.array([1, 1, 1, 0] * 50, bool)}, {"t": np.array([1, 0, 1, 0] * 50, bool)}
        >>> task, mean = compare_runs(a, b).lines
        >>> task.gained, task.lost, task.difference, task.is_significant()
        (50, 0, 0.25, True)
    """
    from fusion_bench.metrics.multiplicity import holm
    from fusion_bench.metrics.paired import paired_difference

    clusters = _shared(clusters, first)
    found = {}
    for task in first:
        of = {task: clusters[task]} if task in clusters else None
        found[task] = paired_difference({task: first[task]}, {task: second[task]}, clusters=of)
    found[MEAN] = paired_difference(first, second, clusters=clusters or None)
    corrected = holm({name: difference.p_value for name, difference in found.items()})
    lines = []
    for name, difference in found.items():
        if name == MEAN:
            lines.append(_line(name, (_mean(first), _mean(second)), difference, corrected[name]))
            continue
        gained = lost = None
        if first[name].dtype == second[name].dtype == np.bool_:
            gained, lost = int((first[name] & ~second[name]).sum()), int((~first[name] & second[name]).sum())
        accuracies = (float(first[name].mean()), float(second[name].mean()))
        lines.append(_line(name, accuracies, difference, corrected[name], gained, lost))
    examples = sum(map(len, first.values()))
    return Comparison(tuple(lines), examples, tuple(clusters), tuple(notes), _detectable(first, second, clusters))


def compare_seeds(
    first: Outcomes | Sequence[Outcomes],
    second: Outcomes | Sequence[Outcomes],
    *,
    clusters: Mapping[str, np.ndarray] | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Every task of two methods and their mean over tasks, where one or both ran with several seeds.

    Seeds and examples are both a sample (`metrics.seeds.seeded_difference`), on each line by itself; the p-values are
    corrected together by Holm.

    Args:
        first, second: the runs of a method, one a seed, two or more; or the one run of a method without chance.
        clusters: as in `compare_runs`.

    Example:
        >>> ties = {"t": np.array([1, 1, 0, 0] * 50, bool)}
        >>> dare = [{"t": np.array([1, 1, 1, 0] * 50, bool)}] * 3
        >>> task, mean = compare_seeds(dare, ties).lines
        >>> mean.first, mean.second, mean.difference, mean.is_significant()
        (0.75, 0.5, 0.25, True)
    """
    from fusion_bench.metrics.multiplicity import holm
    from fusion_bench.metrics.seeds import seeded_difference

    one = first if isinstance(first, Mapping) else first[0]
    shared = _shared(clusters, one)
    found = {
        task: seeded_difference(
            _only(first, task), _only(second, task), clusters={task: shared[task]} if task in shared else None
        )
        for task in one
    }
    found[MEAN] = seeded_difference(first, second, clusters=shared or None)
    corrected = holm({name: difference.p_value for name, difference in found.items()})
    lines = []
    for name, difference in found.items():
        sides = [_seed_mean(side if name == MEAN else _only(side, name)) for side in (first, second)]
        lines.append(_line(name, (sides[0], sides[1]), difference, corrected[name]))
    examples = sum(map(len, one.values()))
    return Comparison(tuple(lines), examples, tuple(shared), tuple(notes), seed_deviations=found[MEAN].seed_deviations)


def _only(side: Outcomes | Sequence[Outcomes], task: str) -> Outcomes | list[Outcomes]:
    return {task: side[task]} if isinstance(side, Mapping) else [{task: run[task]} for run in side]


def _seed_mean(side: Outcomes | Sequence[Outcomes]) -> float:
    return _mean(side) if isinstance(side, Mapping) else float(np.mean([_mean(run) for run in side]))


def compare_sets(
    pairs: Mapping[str, tuple[Outcomes, Outcomes]],
    *,
    clusters: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """The mean over tasks of each case of two sets (sessions, commits), corrected by Holm over the cases.

    Args:
        clusters: by case and task, as in `compare_runs`.
    """
    from fusion_bench.metrics.multiplicity import holm
    from fusion_bench.metrics.paired import paired_difference

    sources = {name: _shared((clusters or {}).get(name), first) for name, (first, _) in pairs.items()}
    found = {
        name: paired_difference(first, second, clusters=sources[name] or None)
        for name, (first, second) in pairs.items()
    }
    corrected = holm({name: difference.p_value for name, difference in found.items()})
    lines = [
        _line(name, (_mean(pairs[name][0]), _mean(pairs[name][1])), difference, corrected[name])
        for name, difference in found.items()
    ]
    examples = max((sum(map(len, first.values())) for first, _ in pairs.values()), default=0)
    clustered = tuple(dict.fromkeys(task for of in sources.values() for task in of))
    return Comparison(tuple(lines), examples, clustered, tuple(notes))


def _detectable(first: Outcomes, second: Outcomes, clusters: Mapping[str, np.ndarray]) -> float | None:
    from fusion_bench.metrics.power import detectable_mean_difference, discordant_shares
    from fusion_bench.metrics.variance import design_effect

    if any(values.dtype != np.bool_ for values in (*first.values(), *second.values())):
        return None  # the formula is that of shares of right answers
    shares = discordant_shares(first, second)
    if not any(shares.values()):
        return None
    change = {task: first[task].astype(float) - second[task] for task in clusters}
    effects = {task: design_effect(change[task], labels) for task, labels in clusters.items()}
    sizes = {task: len(values) for task, values in first.items()}
    found = detectable_mean_difference(sizes, shares, design_effects=effects or None)
    return found if np.isfinite(found) else None


def _line(
    name: str,
    accuracies: tuple[float, float],
    found: PairedDifference | SeededDifference,
    p_value: float,
    gained: int | None = None,
    lost: int | None = None,
) -> Line:
    return Line(name, *accuracies, found.difference, found.low, found.high, p_value, gained, lost)


def _mean(outcomes: Outcomes) -> float:
    return float(np.mean([values.mean() for values in outcomes.values()]))


def _shared(clusters: Mapping[str, np.ndarray] | None, outcomes: Outcomes) -> dict[str, np.ndarray]:
    """The sources of those tasks in which any two examples share one."""
    from fusion_bench.metrics.packing import are_shared

    return {task: labels for task, labels in (clusters or {}).items() if task in outcomes and are_shared(labels)}
