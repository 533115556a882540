"""The sign-flip test: may the mean difference over tasks be chance? Exact, for tasks of unequal sizes and few examples.

If two runs are equally good on an example (or a cluster of examples), either could have been the one that got it right:
the sign of each difference is a fair coin. The law of the mean over tasks under such coins is computed, not simulated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.metrics.outcomes import check_alternative, groupings, sizes_of, task_arrays

# half of the tasks may together have this many different sums before the law is put on a grid
EXACT_SUMS = 2**15
# parts of the law are added up exactly before they are put on the grid while they have this many sums at most
MERGED_SUMS = 2**17
# coins of scores up to which all ways that they may fall are gone through
THROWN = 14
# rounding to the grid moves the statistic by this many of its standard deviations at most
GRID_ERROR = 5e-4


@dataclass(frozen=True)
class _Part:
    """An independent part of the statistic: ``values`` ascending and symmetric about 0, their ``probabilities``.

    ``jump``: the most that one coin changes.
    """

    values: np.ndarray
    probabilities: np.ndarray
    jump: float


def sign_flip_test(
    differences: Mapping[str, ArrayLike],
    *,
    clusters: Mapping[str, ArrayLike] | None = None,
    alternative: str = "two-sided",
) -> float:
    """p-value of the mean over tasks of the mean difference of a task, in (0, 1].

    Under the null Σ_t (1/n_t) Σ_g ε_g s_g with fair independent signs ε_g, s_g the sum of differences of unit g: a
    discordant example, or a cluster of examples that change sides together. For one task without clusters this is the
    exact McNemar test. The law is exact while the tasks' sums can be enumerated (`EXACT_SUMS`: about 12 discordant
    examples in each of eight tasks of different sizes, any number in tasks of one size). Beyond, each task's law is put
    on a grid so fine that the p-value is too large by less than 3 parts in 100 and never too small.

    Where the runs are equally good on average but each better on some tasks, the test is conservative.

    Args:
        differences: per task accuracy outcomes of the first run minus those of the second: -1, 0 or 1, two examples or
            more; or differences of scores, of which there may be many: then their part of the law is normal, not exact.
        clusters: per task one label an example; tasks left out have independent examples.
        alternative: "less" asks whether the first is worse, "greater" whether it is better.

    Example:
        >>> sign_flip_test({"t": [1, 1, 1, 1, 1, 0, 0, 0]})
        0.0625
        >>> sign_flip_test({"t": [1, 1, 1, 1, 1, 0, 0, 0], "u": [0, 0, 0, 1]}, alternative="greater")
        0.015625
    """
    check_alternative(alternative)
    arrays = task_arrays(differences, binary=False)
    groups = groupings(clusters, sizes_of(arrays))
    units: dict[int, list[np.ndarray]] = {}
    scores: list[np.ndarray] = []
    observed = 0.0
    for task, values in arrays.items():
        grouping = groups[task]
        sums = values if grouping is None else grouping.sums(values)
        observed += float(sums.sum()) / len(values)
        if np.isin(values, (-1.0, 0.0, 1.0)).all():
            # tasks of one size share a weight: their laws join without any error
            units.setdefault(len(values), []).append(np.rint(sums[sums != 0]).astype(np.int64))
        else:
            scores.append(sums[sums != 0] / len(values))
    if alternative == "two-sided":
        observed = abs(observed)
    elif alternative == "less":
        observed = -observed
    parts = [_part(np.concatenate(sums), n) for n, sums in sorted(units.items()) if sum(map(len, sums))]
    if scores:
        upper = _upper_tail_with_scores(parts, np.concatenate(scores), observed)
    elif not parts or (alternative == "two-sided" and observed < _tolerance(parts)):
        return 1.0
    else:
        upper = _upper_tail(parts, observed)
    p_value = min(1.0, 2 * upper if alternative == "two-sided" else upper)
    # a law of thousands of coins underflows in its tail; zero would claim the impossible
    return max(p_value, float(np.finfo(np.float64).tiny))


def _upper_tail_with_scores(parts: Sequence[_Part], coins: np.ndarray, observed: float) -> float:
    """P(sum of the parts and of ± each of the coins ≥ ``observed``); sums of scores are no lattice to count on.

    Few coins are all thrown; the sum of more is normal with their variance Σ s² / n². The parts, tasks of right and
    wrong, keep their exact law beside them while their sums are few.
    """
    from scipy.special import ndtr

    parts, variance = list(parts), 0.0
    if len(coins) <= THROWN:
        signs = 1 - 2 * (np.arange(2 ** len(coins))[:, None] >> np.arange(len(coins)) & 1)
        parts.append(_Part(signs @ coins, np.full(len(signs), 1 / len(signs)), 0.0))
    else:
        variance = float((coins**2).sum())
    if math.prod(len(part.values) for part in parts) > MERGED_SUMS:
        variance += sum(float(part.probabilities @ part.values**2) for part in parts)
        parts = []
    found, probabilities = _sum(parts)
    tolerance = 1e-12 * max(1.0, float(np.abs(found).max()))
    beyond = found >= observed - tolerance if variance == 0 else ndtr((found - observed) / math.sqrt(variance))
    return float(probabilities @ beyond)


def _part(sums: np.ndarray, n: int) -> _Part:
    """The law of Σ ε s / n: with B_k of the c_k units of size k positive, Σ_k k (2 B_k − c_k) / n."""
    from scipy.special import gammaln

    law = np.ones(1)
    sizes, counts = np.unique(np.abs(sums), return_counts=True)
    for size, count in zip(sizes, counts, strict=True):
        k = np.arange(count + 1)
        binomial = np.exp(gammaln(count + 1) - gammaln(k + 1) - gammaln(count - k + 1) - count * math.log(2))
        spaced = np.zeros(size * count + 1)
        spaced[::size] = binomial
        law = np.convolve(law, spaced)
    possible = np.flatnonzero(law)
    most = len(law) - 1
    return _Part((2 * possible - most) / n, law[possible], 2 * float(sizes[-1]) / n)


def _upper_tail(parts: Sequence[_Part], observed: float) -> float:
    """P(sum of the parts ≥ ``observed``)."""
    halves = _halves(parts)
    largest = max(math.prod(len(part.values) for part in half) for half in halves)
    return _exact(*halves, observed) if largest <= EXACT_SUMS or len(parts) == 1 else _on_grid(parts, observed)


def _halves(parts: Sequence[_Part]) -> tuple[list[_Part], list[_Part]]:
    """The parts in two halves with about as many different sums each."""
    halves: tuple[list[_Part], list[_Part]] = ([], [])
    size = [1, 1]
    for part in sorted(parts, key=lambda p: -len(p.values)):
        smaller = int(size[1] < size[0])
        halves[smaller].append(part)
        size[smaller] *= len(part.values)
    return halves


def _exact(first: Sequence[_Part], second: Sequence[_Part], observed: float) -> float:
    """All sums of the one half, each met by the tail of the other."""
    sums, weights = _sum(first)
    values, probabilities = _sum(second)
    order = np.argsort(values)
    tails = np.append(np.cumsum(probabilities[order][::-1])[::-1], 0.0)
    # equal sums reached along different ways may differ in their last bits, and all of them count
    enough = observed - sums - _tolerance([*first, *second])
    return float(weights @ tails[np.searchsorted(values[order], enough)])


def _sum(parts: Sequence[_Part]) -> tuple[np.ndarray, np.ndarray]:
    """All sums of the parts' values and their probabilities."""
    values, probabilities = np.zeros(1), np.ones(1)
    for part in parts:
        values = np.add.outer(values, part.values).ravel()
        probabilities = np.multiply.outer(probabilities, part.probabilities).ravel()
    return values, probabilities


def _on_grid(parts: Sequence[_Part], observed: float) -> float:
    """An upper bound of the tail: sums rounded to a grid, laws multiplied in Fourier space, the rounding conceded.

    The laws are tilted by exp(θ x) so that ``observed`` is their centre: a tail of 1e-9 comes out as precisely as one
    of 0.1, where rounding errors of the transform would drown it. The grid is a circle; what lies beyond its
    circumference has a probability below 1e-20 (Bernstein's inequality) and falls on it somewhere.
    """
    deviation = math.sqrt(sum(float(part.probabilities @ part.values**2) for part in parts))
    reach = sum(float(part.values[-1]) for part in parts)
    theta = _tilt(parts, min(observed, 0.999 * reach))
    log_scale, mean, variance = 0.0, 0.0, 0.0
    tilted = []
    for part in parts:
        weights = part.probabilities * np.exp(theta * (part.values - part.values[-1]))
        total = float(weights.sum())
        log_scale += theta * float(part.values[-1]) + math.log(total)
        weights /= total
        centre = float(weights @ part.values)
        mean, variance = mean + centre, variance + float(weights @ (part.values - centre) ** 2)
        likely = weights > 1e-20
        tilted.append(_Part(part.values[likely], weights[likely], part.jump))
    merged = _merged(tilted)
    slack = GRID_ERROR * deviation
    step = 2 * slack / len(merged)
    half = 10 * math.sqrt(variance) + 34 * max(part.jump for part in parts)
    points = 2 ** math.ceil(math.log2(2 * min(half, reach) / step + 2 * len(merged) + 2))
    spectrum = np.ones(points // 2 + 1, dtype=np.complex128)
    for sums, weights in merged:
        places = np.rint(sums / step).astype(np.int64) % points
        spectrum *= np.fft.rfft(np.bincount(places, weights, minlength=points))
    law = np.maximum(np.fft.irfft(spectrum, points), 0.0)
    places = round(mean / step) - points // 2 + np.arange(points)
    places = places[places * step >= observed - slack - _tolerance(parts)]
    # a sum lies at most slack below its place: untilted there, it counts for no less than it is
    return min(1.0, float(law[places % points] @ np.exp(log_scale - theta * (places * step - slack))))


def _merged(parts: Sequence[_Part]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Parts added up while their sums are few: each that is left is rounded once and transformed once."""
    groups = [[part] for part in parts]

    def size(group: Sequence[_Part]) -> int:
        return math.prod(len(part.values) for part in group)

    groups.sort(key=size)
    while len(groups) > 1 and size(groups[0]) * size(groups[1]) <= MERGED_SUMS:
        groups = sorted([groups[0] + groups[1], *groups[2:]], key=size)
    return [_sum(group) for group in groups]


def _tilt(parts: Sequence[_Part], target: float) -> float:
    """The θ ≥ 0 under which the tilted mean is ``target``; 0 for targets at or below the null's mean."""
    if target <= 0:
        return 0.0

    def mean(theta: float) -> float:
        total = 0.0
        for part in parts:
            weights = part.probabilities * np.exp(theta * (part.values - part.values[-1]))
            total += float(weights @ part.values / weights.sum())
        return total

    low, high = 0.0, target / sum(float(part.probabilities @ part.values**2) for part in parts)
    while mean(high) < target:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < target else (low, middle)
    return high


def _tolerance(parts: Sequence[_Part]) -> float:
    return 1e-12 * max(1.0, sum(float(part.values[-1]) for part in parts))
