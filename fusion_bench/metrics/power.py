"""What a pool can detect: the power of the paired tests, and the smallest difference found with a given power.

Pairs are what counts: of n examples a share is discordant (exactly one of two runs is right); only those tell the runs
apart. Two runs that disagree on few examples are told apart by smaller differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.metrics.outcomes import check_alternative, check_level, paired_arrays


def discordant_shares(first: Mapping[str, ArrayLike], second: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Per task the share of examples that exactly one of two runs has right, in [0, 1]: what power depends on.

    Example:
        >>> discordant_shares({"t": [1, 1, 0, 0]}, {"t": [1, 0, 1, 0]})
        {'t': 0.5}
    """
    return {task: float((a != b).mean()) for task, (a, b) in paired_arrays(first, second, binary=True).items()}


def task_power(
    difference: float,
    n: int,
    discordant: float,
    *,
    alpha: float = 0.05,
    comparisons: int = 1,
    alternative: str = "two-sided",
) -> float:
    """Probability that the exact McNemar test of one task finds a difference; no approximation.

    D ~ Bin(n, q) examples are discordant, G ~ Bin(D, (1 + difference/q) / 2) of them gained; the test rejects where its
    p-value is at most alpha/comparisons (the first step of Holm's correction: with it the power is at least this).

    Args:
        difference: accuracy(first) − accuracy(second), in [-1, 1].
        n: examples of the task.
        discordant: q, the share of discordant examples; at least |difference|, which is taken where it is less.
        alternative: "less" finds only negative differences, "greater" only positive ones.

    Example:
        >>> round(task_power(-0.02, 2000, 0.05), 2), round(task_power(-0.02, 2000, 0.2), 2)
        (0.98, 0.5)
    """
    level = _corrected(alpha, comparisons)
    return _binomial_power(difference, n, discordant, level, check_alternative(alternative), exact=True)


def mean_power(
    difference: float,
    n: Mapping[str, int],
    discordant: float | Mapping[str, float],
    *,
    alpha: float = 0.05,
    comparisons: int = 1,
    alternative: str = "two-sided",
    design_effects: Mapping[str, float] | None = None,
) -> float:
    """Probability that the sign-flip test of the mean over tasks finds a difference that all tasks share.

    As `task_power` of one task with T² q̄ / Σ_t (q_t deff_t / n_t) examples and the mean share q̄, to which it is equal
    where all tasks are of one size and alike. Where sizes differ, the test's law has no steps, and a randomised test
    takes the place of the stepped one. Simulations agree to a point or two of power.

    Args:
        difference: of the mean over tasks, in [-1, 1].
        n: examples of each task.
        discordant: share of discordant examples, of all tasks or of each (`discordant_shares`).
        design_effects: of the per-example differences, of tasks with clusters (`variance.design_effect`); 1 elsewhere.

    Example:
        >>> round(mean_power(-0.005, {"a": 2000, "b": 2000, "c": 2000, "d": 2000}, 0.05), 2)
        0.5
    """
    level = _corrected(alpha, comparisons)
    examples, share, exact = _pooled(n, discordant, design_effects)
    return _binomial_power(difference, examples, share, level, check_alternative(alternative), exact=exact)


def detectable_difference(
    n: int,
    discordant: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    comparisons: int = 1,
    alternative: str = "two-sided",
) -> float:
    """Smallest |difference| of one task that `task_power` finds with probability ``power``; ∞ where none can be.

    Example:
        >>> round(detectable_difference(2000, 0.05), 4), round(detectable_difference(2000, 0.05, comparisons=9), 4)
        (0.0144, 0.0183)
        >>> detectable_difference(4, 0.5)
        inf
    """
    sign = -1.0 if alternative == "less" else 1.0
    return _smallest(
        lambda d: task_power(sign * d, n, discordant, alpha=alpha, comparisons=comparisons, alternative=alternative),
        power,
    )


def detectable_mean_difference(
    n: Mapping[str, int],
    discordant: float | Mapping[str, float],
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    comparisons: int = 1,
    alternative: str = "two-sided",
    design_effects: Mapping[str, float] | None = None,
) -> float:
    """Smallest |difference| of the mean over tasks that `mean_power` finds with probability ``power``.

    Example:
        >>> round(detectable_mean_difference({"a": 2000, "b": 2000, "c": 2000, "d": 2000}, 0.05), 4)
        0.0071
    """
    sign = -1.0 if alternative == "less" else 1.0
    return _smallest(
        lambda d: mean_power(
            sign * d,
            n,
            discordant,
            alpha=alpha,
            comparisons=comparisons,
            alternative=alternative,
            design_effects=design_effects,
        ),
        power,
    )


def _binomial_power(
    difference: float, n: int, discordant: float, level: float, alternative: str, *, exact: bool
) -> float:
    from scipy.special import bdtr, bdtrc

    if n < 1 or not -1 <= difference <= 1 or not 0 <= discordant <= 1:
        raise FusionBenchError(
            f"a difference of {difference} on {n} examples of which {discordant} are discordant",
            hint="one example at least, a difference in [-1, 1], a share in [0, 1]",
        )
    q = max(discordant, abs(difference))
    if q == 0:
        return 0.0 if exact else level
    d, weight = _likely_counts(n, q)
    gained = min(1.0, max(0.0, (1 + difference / q) / 2))
    side = level / 2 if alternative == "two-sided" else level
    most = _critical_counts(d, side)
    lower = np.where(most >= 0, bdtr(np.maximum(most, 0.0), d, gained), 0.0)
    upper = np.where(most >= 0, bdtrc(d - np.maximum(most, 0.0) - 1, d, gained), 0.0)
    if not exact:  # reject at the next count as often as exhausts the level
        at = most + 1.0
        spent = np.where(most >= 0, bdtr(np.maximum(most, 0.0), d, 0.5), 0.0)
        share = np.clip((side - spent) / _mass(at, d, 0.5), 0.0, 1.0)
        lower, upper = lower + share * _mass(at, d, gained), upper + share * _mass(d - at, d, gained)
    found = {"less": lower, "greater": upper, "two-sided": lower + upper}[alternative]
    return float(min(1.0, weight @ np.minimum(found, 1.0)))


def _likely_counts(n: int, q: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of discordant examples that have any weight, and their probabilities."""
    centre, reach = n * q, 9 * math.sqrt(n * q * (1 - q)) + 40
    d = np.arange(max(0, math.floor(centre - reach)), min(n, math.ceil(centre + reach)) + 1)
    return d, _mass(d.astype(np.float64), np.full(d.shape, n), q)


def _critical_counts(d: np.ndarray, side: float) -> np.ndarray:
    """The largest k with P(Bin(d, 1/2) ≤ k) ≤ side, −1 where there is none; float64 whole numbers."""
    from scipy.special import bdtr, ndtri

    k = np.floor(d / 2 + ndtri(side) * np.sqrt(d) / 2) - 3.0
    k = np.where(k >= 0, k, -1.0)
    while True:
        more = (k + 1 <= d) & (bdtr(np.minimum(k + 1, d), d, 0.5) <= side)
        if not more.any():
            break
        k = np.where(more, k + 1, k)
    while True:
        less = (k >= 0) & (bdtr(np.maximum(k, 0.0), d, 0.5) > side)
        if not less.any():
            return k
        k = np.where(less, k - 1, k)


def _mass(k: np.ndarray, d: np.ndarray, p: float) -> Any:
    """P(Bin(d, p) = k), 0 outside 0 ... d."""
    from scipy.special import gammaln, xlog1py, xlogy

    inside = (k >= 0) & (k <= d)
    k = np.clip(k, 0, d)
    log = gammaln(d + 1) - gammaln(k + 1) - gammaln(d - k + 1) + xlogy(k, p) + xlog1py(d - k, -p)
    return np.where(inside, np.exp(log), 0.0)


def _pooled(
    n: Mapping[str, int], discordant: float | Mapping[str, float], design_effects: Mapping[str, float] | None
) -> tuple[int, float, bool]:
    """Examples and discordant share of the one task that knows as much as all, and whether its steps are real."""
    if not n:
        raise FusionBenchError("no task", hint="power needs the examples of at least one task")
    if isinstance(discordant, Mapping):
        for task in discordant:
            if task not in n:
                raise unknown_name("task", task, n, where="the shares of discordant examples")
        missing = [task for task in n if task not in discordant]
        if missing:
            raise FusionBenchError(f"no share of discordant examples for {', '.join(missing)}", hint="give all or one")
        shares = {task: discordant[task] for task in n}
    else:
        shares = dict.fromkeys(n, discordant)
    for task, share in shares.items():
        if not 0 <= share <= 1 or n[task] < 1:
            raise FusionBenchError(f"task {task}: {share} of {n[task]} examples discordant", hint="a share in [0, 1]")
    effects = dict.fromkeys(n, 1.0)
    for task, effect in (design_effects or {}).items():
        if task not in effects:
            raise unknown_name("task", task, n, where="the design effects")
        effects[task] = effect
    share = math.fsum(shares.values()) / len(n)
    per_example = [effects[task] / n[task] for task in n]
    if share > 0:
        spread = math.fsum(shares[task] * each for task, each in zip(n, per_example, strict=True)) / share
    else:
        spread = math.fsum(per_example)
    stepped = len(set(n.values())) == 1 and set(effects.values()) == {1.0}
    return max(1, round(len(n) ** 2 / spread)), share, stepped


def _smallest(power_of: Callable[[float], float], power: float) -> float:
    """Bisection for the least difference; power grows with the difference."""
    if not 0 < power < 1:
        raise FusionBenchError(f"power {power}", hint="a probability between 0 and 1, for instance 0.8")
    if power_of(1.0) < power:
        return math.inf
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if power_of(middle) < power else (low, middle)
    return high


def _corrected(alpha: float, comparisons: int) -> float:
    if comparisons < 1:
        raise FusionBenchError(f"{comparisons} comparisons", hint="one at least: the test itself")
    return check_level(alpha) / comparisons
