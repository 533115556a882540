"""Methods with chance in them: several seeds on the same examples, seeds and examples both a sample.

The estimand is the accuracy that a method has on average over all seeds it might have been given and all examples like
these; the tasks are fixed. A method's luckiest seed, or the accuracy of one given seed, is another question.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.intervals import stratified_limits
from fusion_bench.metrics.outcomes import Grouping, groupings, is_binary, same_tasks, sizes_of, task_arrays
from fusion_bench.metrics.paired import difference_limits
from fusion_bench.metrics.variance import Spread, critical, pooled_degrees, spread

Runs = Sequence[Mapping[str, ArrayLike]]


@dataclass(frozen=True)
class SeededMean:
    """A method's mean accuracy over tasks, seeds and examples, with its interval at ``level``.

    ``seed_deviation``: the standard deviation of the mean over tasks from seed to seed that is not sampling of
    examples (0 where none is seen); ``per_task``: accuracies.
    """

    mean: float
    low: float
    high: float
    standard_error: float
    seed_deviation: float
    per_task: Mapping[str, float]
    level: float


@dataclass(frozen=True)
class SeededDifference:
    """Mean accuracy of a first method minus that of a second, with interval and test of no difference (two-sided).

    ``seed_deviations``: of each method as in `SeededMean`, 0 of a method without chance.
    """

    difference: float
    low: float
    high: float
    p_value: float
    standard_error: float
    seed_deviations: tuple[float, float]
    per_task: Mapping[str, float]
    level: float


def seeded_mean(runs: Runs, *, level: float = 0.95, clusters: Mapping[str, ArrayLike] | None = None) -> SeededMean:
    """Interval of a method's mean accuracy from K runs with different seeds on the same examples.

    Seeds and examples are crossed: Var = A + B with A = σ²_seed / K and B = Σ_t Var_t / T², Var_t the variance, over
    examples (or clusters), of an example's share of seeds that are right. σ²_seed is the variance of the K means over
    tasks, less what sampling the examples puts into it (the interaction of seeds and examples), and not below 0. Few
    seeds tell little of σ²_seed, so the half-width is √(t²_{K−1} A + c² B), c the critical value of the examples' part:
    Satterthwaite's single t would cover in 92 % of draws for three seeds. From two seeds nothing is taken off σ²_seed,
    for A would be 0 too often. Near 0 and 1 as `mean_accuracy_interval`.

    Source: crossed random effects, Searle, Casella, McCulloch 1992, "Variance components"; half-widths in quadrature,
    Zou and Donner 2008, "Construction of confidence limits about effect measures: a general approach".

    Args:
        runs: K ≥ 2 runs, per task a bool or 0/1 array with one entry an example, the same examples in all; three or
            more, for two seeds give very wide intervals.
        clusters: per task one label an example; tasks left out have independent examples.

    Example:
        >>> found = seeded_mean([{"t": [1, 1, 1, 0] * 50}, {"t": [1, 1, 0, 0] * 50}, {"t": [1, 1, 1, 0] * 50}])
        >>> round(found.mean, 3), round(found.low, 2), round(found.high, 2), round(found.seed_deviation, 2)
        (0.667, 0.3, 1.0, 0.14)
    """
    stacked = _stacked(runs, "the method")
    groups = groupings(clusters, sizes_of(stacked))
    seeds = _Seeds.of(stacked, groups)
    spreads = {task: spread(outcomes.mean(axis=0), groups[task]) for task, outcomes in stacked.items()}
    variances = np.array([s.variance for s in spreads.values()])
    c = float(critical(level, _degrees(spreads)))
    low, high = stratified_limits(
        np.array([s.mean for s in spreads.values()]),
        variances,
        np.array([s.n if is_binary(stacked[task]) else math.inf for task, s in spreads.items()]),
        c,
        extra=seeds.half_width(level) ** 2 / c**2,
    )
    per_task = {task: s.mean for task, s in spreads.items()}
    return SeededMean(
        mean=_mean(per_task),
        low=float(low),
        high=float(high),
        standard_error=math.sqrt(variances.sum() / len(spreads) ** 2 + seeds.variance),
        seed_deviation=seeds.deviation,
        per_task=per_task,
        level=level,
    )


def seeded_difference(
    first: Runs | Mapping[str, ArrayLike],
    second: Runs | Mapping[str, ArrayLike],
    *,
    level: float = 0.95,
    clusters: Mapping[str, ArrayLike] | None = None,
) -> SeededDifference:
    """Difference of two methods, each with several seeds (independent of each other's), on the same examples.

    Half-width √(t²_{K₁−1} A₁ + t²_{K₂−1} A₂ + c² B) as in `seeded_mean`, with B that of an example's difference of
    shares of seeds that are right. As in `paired_difference`, the tasks together get about one discordant example more
    in each direction, so that no width is zero. The p-value is that of the level at which the half-width reaches the
    difference.

    Args:
        first: K ≥ 2 runs; or one run, not in a list, of a method without chance. ``second`` alike.

    Example:
        >>> ties = {"t": [1, 1, 0, 0] * 50}
        >>> dare = [{"t": [1, 1, 1, 0] * 50}, {"t": [1, 1, 1, 0] * 50}, {"t": [1, 1, 1, 0] * 50}]
        >>> found = seeded_difference(dare, ties)
        >>> found.difference, round(found.low, 3), round(found.high, 3), found.p_value < 1e-6
        (0.25, 0.187, 0.309, True)
    """
    names = ("the first method", "the second method")
    sides = [_side(runs, name) for runs, name in zip((first, second), names, strict=True)]
    tasks = same_tasks(zip(names, sides, strict=True))
    groups = groupings(clusters, sizes_of(sides[0]))
    seeds = [_Seeds.of(side, groups) for side in sides]
    values = {task: sides[0][task].mean(axis=0) - sides[1][task].mean(axis=0) for task in tasks}
    spreads = {task: spread(values[task], groups[task]) for task in tasks}
    degrees = _degrees(spreads)
    low, high, error = difference_limits(
        np.array([values[task].sum() for task in tasks]),
        np.array([(values[task] ** 2).sum() for task in tasks]),
        np.array([spreads[task].n for task in tasks]),
        critical(level, degrees),
        unit=np.array([max(float(np.abs(side[task]).max()) for side in sides) or 1.0 for task in tasks]),
        extra=np.array([s.variance - s.independent for s in spreads.values()]),
    )
    centre = float(low + high) / 2
    per_task = {task: s.mean for task, s in spreads.items()}
    difference = _mean(per_task)

    def half_width(at: float) -> float:
        return math.hypot(float(critical(at, degrees) * error), *(s.half_width(at) for s in seeds))

    return SeededDifference(
        difference=difference,
        low=centre - half_width(level),
        high=centre + half_width(level),
        p_value=_p_value(abs(difference), half_width),
        standard_error=math.sqrt(float(error) ** 2 + sum(s.variance for s in seeds)),
        seed_deviations=(seeds[0].deviation, seeds[1].deviation),
        per_task=per_task,
        level=level,
    )


@dataclass(frozen=True)
class _Seeds:
    """What K seeds add to the variance of a method's mean: σ²_seed / K."""

    count: int
    variance: float

    @classmethod
    def of(cls, stacked: Mapping[str, np.ndarray], groups: Mapping[str, Grouping | None]) -> _Seeds:
        """From per task float64 ``(K, n_t)``; K = 1 is a method without chance."""
        count = len(next(iter(stacked.values())))
        if count == 1:
            return cls(1, 0.0)
        means = np.mean([outcomes.mean(axis=1) for outcomes in stacked.values()], axis=0)
        raw = float(means.var(ddof=1)) / count
        if count == 2:
            return cls(2, raw)
        examples = 0.0
        for task, outcomes in stacked.items():
            interaction = outcomes - outcomes.mean(axis=0)
            # K − 1 and not K: the seeds' deviations from their mean sum to zero
            examples += sum(spread(row, groups[task]).variance for row in interaction) / (count - 1)
        return cls(count, max(0.0, raw - examples / len(stacked) ** 2 / count))

    @property
    def deviation(self) -> float:
        """σ_seed."""
        return math.sqrt(self.variance * self.count)

    def half_width(self, level: float) -> float:
        """Of an interval in which only the seeds are chance."""
        return float(critical(level, self.count - 1)) * math.sqrt(self.variance) if self.variance else 0.0


def _p_value(difference: float, half_width: Callable[[float], float]) -> float:
    """1 − the level at which ``half_width`` is ``difference``, by bisection of the p-value's logarithm."""
    low, high = math.log(1e-15), 0.0
    if half_width(-math.expm1(low)) <= difference:
        return math.exp(low)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if half_width(-math.expm1(middle)) > difference else (low, middle)
    return math.exp(high)


def _degrees(spreads: Mapping[str, Spread]) -> float:
    return float(pooled_degrees([s.variance for s in spreads.values()], [s.df for s in spreads.values()]))


def _mean(per_task: Mapping[str, float]) -> float:
    return math.fsum(per_task.values()) / len(per_task)


def _side(runs: Runs | Mapping[str, ArrayLike], name: str) -> dict[str, np.ndarray]:
    if isinstance(runs, Mapping):
        return {task: values[None, :] for task, values in task_arrays(runs, run=name).items()}
    return _stacked(runs, name)


def _stacked(runs: Runs, name: str) -> dict[str, np.ndarray]:
    """Per task float64 ``(K, n_t)``."""
    if isinstance(runs, Mapping) or len(runs) < 2:
        raise FusionBenchError(
            f"{name} has {1 if runs else 0} seed(s)",
            hint="the spread between seeds needs two; a method without chance is given as its one run, not in a list",
        )
    labels = [f"seed {number + 1} of {name}" for number in range(len(runs))]
    arrays = [(label, task_arrays(run, run=label)) for label, run in zip(labels, runs, strict=True)]
    return {task: np.stack([found[task] for _, found in arrays]) for task in same_tasks(arrays)}
