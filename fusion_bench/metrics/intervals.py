"""Confidence intervals of accuracies: the tasks are fixed, the examples are the sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError


def wilson_interval(correct: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion, within [0, 1].

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Example:
        >>> low, high = wilson_interval(90, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)
    """
    from scipy.stats import binomtest

    if not 0 <= correct <= n or n < 1:
        raise FusionBenchError(f"{correct} correct of {n} is no proportion")
    interval = binomtest(int(correct), int(n)).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def mean_accuracy_interval(per_task_correct: Mapping[str, ArrayLike], *, level: float = 0.95) -> tuple[float, float]:
    """Interval of the unweighted mean of task accuracies, stratified by task.

    x̄ ± z · √(Σ_t s_t² / n_t) / T with s_t² the unbiased variance of task t's 0/1 outcomes; cut to [0, 1].

    Args:
        per_task_correct: per task a bool or 0/1 array with one entry an example, two or more.

    Example:
        >>> low, high = mean_accuracy_interval({"a": [1, 0] * 200, "b": [1, 1, 1, 0] * 100})
        >>> round(low, 3), round(high, 3)
        (0.593, 0.657)
    """
    means, variances = zip(*(_moments(task, values) for task, values in per_task_correct.items()), strict=True)
    centre, half = float(np.mean(means)), _z(level) * float(np.sqrt(np.sum(variances))) / len(means)
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference_interval(
    first: Mapping[str, ArrayLike],
    second: Mapping[str, ArrayLike],
    *,
    level: float = 0.95,
    resamples: int | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[float, float, float]:
    """Mean over tasks of accuracy(first) − accuracy(second) on the same examples, with its interval.

    Pairing removes what both models find hard or easy. Closed form as in `mean_accuracy_interval`, on the per-example
    differences; with ``resamples``, the percentile bootstrap within each task instead.

    Returns:
        ``(difference, low, high)`` in [-1, 1].

    Example:
        >>> a, b = {"t": [1, 1, 1, 0] * 50}, {"t": [1, 0, 1, 0] * 50}
        >>> [round(x, 3) for x in paired_difference_interval(a, b)]
        [0.25, 0.19, 0.31]
    """
    differences = {}
    if set(first) != set(second):
        raise FusionBenchError(f"the runs share not the same tasks: {sorted(set(first) ^ set(second))}")
    for task in first:
        a, b = np.asarray(first[task], dtype=float), np.asarray(second[task], dtype=float)
        if a.shape != b.shape:
            raise FusionBenchError(f"task {task}: {a.size} and {b.size} examples", hint="pairs need the same examples")
        differences[task] = a - b
    means, variances = zip(*(_moments(task, values) for task, values in differences.items()), strict=True)
    centre = float(np.mean(means))
    if resamples is None:
        half = _z(level) * float(np.sqrt(np.sum(variances))) / len(means)
        return centre, centre - half, centre + half
    rng = rng or np.random.default_rng(0)
    draws = np.zeros(resamples)
    for values in differences.values():
        draws += values[rng.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(draws / len(differences), [(1 - level) / 2, (1 + level) / 2])
    return centre, float(low), float(high)


def _moments(task: str, values: ArrayLike) -> tuple[float, float]:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or array.size < 2:
        raise FusionBenchError(f"task {task}: {array.size} example(s)", hint="an interval needs at least two")
    return float(array.mean()), float(array.var(ddof=1) / array.size)


def _z(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + level) / 2))
