"""Two runs on the same examples: their difference, how sure it is, and whether it may be chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.bootstrap import Atoms, bootstrap_means
from fusion_bench.metrics.outcomes import Grouping, check_alternative, groupings, paired_arrays, sizes_of
from fusion_bench.metrics.sign_flip import sign_flip_test
from fusion_bench.metrics.variance import Spread, critical, pooled_degrees, spread

Alternative = Literal["two-sided", "less", "greater"]


@dataclass(frozen=True)
class PairedDifference:
    """Mean over tasks of accuracy(first) − accuracy(second), in [-1, 1], with its interval and test.

    ``low`` and ``high`` bound it at ``level``; ``p_value`` (of `sign_flip_test`) is that of no difference against
    ``alternative``; ``standard_error`` is never zero (see `paired_difference`); ``per_task``: differences of tasks.
    """

    difference: float
    low: float
    high: float
    p_value: float
    standard_error: float
    per_task: Mapping[str, float]
    level: float
    alternative: str


@dataclass(frozen=True)
class _Pairs:
    """Per-example differences of one task; ``unit`` is what an outcome of "right" counts (1, unless scaled)."""

    values: np.ndarray
    grouping: Grouping | None
    spread: Spread
    unit: float


def paired_difference(
    first: Mapping[str, ArrayLike],
    second: Mapping[str, ArrayLike],
    *,
    level: float = 0.95,
    clusters: Mapping[str, ArrayLike] | None = None,
    alternative: Alternative = "two-sided",
    resamples: int | None = None,
    rng: np.random.Generator | None = None,
) -> PairedDifference:
    """Compare two runs on the same examples; pairing removes what both find hard or easy.

    The tasks are fixed, the examples (or their clusters) the sample. Closed form: `difference_limits`; with
    ``resamples`` the expanded percentile bootstrap within tasks. Neither has width zero, even where the runs agree on
    every example: agreement on n examples does not exclude that they differ on one in n, so the tasks together get c²/4
    (about one) discordant examples more in each direction, c being the critical value. These are single examples: if
    disagreements came in whole clusters, no data without one could tell.

    Source: Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data" (one discordant pair more in each direction); Hesterberg 2015, "What teachers should know about the
    bootstrap", arXiv 1411.5279 (expanded percentiles: as much wider than those of the normal law as Student's t is).

    Args:
        first: per task a bool or 0/1 array with one entry an example, or scores, two or more; ``second`` alike.
        clusters: per task one label an example; tasks left out have independent examples.
        alternative: "less" asks whether the first is worse, "greater" whether it is better.
        resamples: number of bootstrap draws, for instance 2,000; closed form when None. With fewer than about ten
            clusters in a task the closed form is the better.
        rng: chance of the bootstrap; a generator seeded with 0 when None.

    Example:
        >>> found = paired_difference({"t": [1, 1, 1, 0] * 50}, {"t": [1, 0, 1, 0] * 50})
        >>> found.difference, round(found.low, 3), round(found.high, 3), found.p_value < 1e-10
        (0.25, 0.187, 0.309, True)
    """
    check_alternative(alternative)
    pairs = _pairs(first, second, clusters)
    draws = None if resamples is None else _draws(pairs, resamples, rng, level)
    low, high, error = _limits(pairs, level, draws)
    differences = {task: p.values for task, p in pairs.items()}
    return PairedDifference(
        difference=_mean(pairs),
        low=low,
        high=high,
        p_value=sign_flip_test(differences, clusters=clusters, alternative=alternative),
        standard_error=error,
        per_task={task: p.spread.mean for task, p in pairs.items()},
        level=level,
        alternative=alternative,
    )


def paired_difference_interval(
    first: Mapping[str, ArrayLike],
    second: Mapping[str, ArrayLike],
    *,
    level: float = 0.95,
    resamples: int | None = None,
    rng: np.random.Generator | None = None,
    clusters: Mapping[str, ArrayLike] | None = None,
) -> tuple[float, float, float]:
    """The difference and interval of `paired_difference` alone.

    Returns:
        ``(difference, low, high)``, in [-1, 1] for 0/1 outcomes.

    Example:
        >>> a, b = {"t": [1, 1, 1, 0] * 50}, {"t": [1, 0, 1, 0] * 50}
        >>> [round(x, 3) for x in paired_difference_interval(a, b)]
        [0.25, 0.187, 0.309]
    """
    pairs = _pairs(first, second, clusters)
    draws = None if resamples is None else _draws(pairs, resamples, rng, level)
    low, high, _ = _limits(pairs, level, draws)
    return _mean(pairs), low, high


def difference_limits(
    sums: Any, squares: Any, sizes: Any, c: Any, *, unit: Any = 1.0, extra: Any = 0.0
) -> tuple[Any, Any, Any]:
    """Limits of a mean of T paired differences and its standard error; ``(..., T)`` in, ``(...)`` out.

    With κ = c²/4T, N_t = n_t + 2κ and d_t = Σd / N_t: mean of d_t ± c · √(Σ_t V_t) / T, where
    V_t = ((Σd² + 2κ·unit²) / N_t − d_t²) / N_t + extra. For T = 1 and c = 2 this is Bonett and Price's interval.

    Args:
        sums: Σd over a task's examples, d the difference of outcomes.
        squares: Σd², the number of discordant examples where outcomes are 0/1.
        sizes: n_t.
        c: critical value.
        unit: the largest |d| possible.
        extra: what clusters add to the variance of each task's difference.
    """
    tasks = np.shape(sums)[-1]
    kappa = np.asarray(c)[..., None] ** 2 / (4 * tasks)
    total = sizes + 2 * kappa
    means = sums / total
    variance = ((squares + 2 * kappa * unit**2) / total - means**2) / total + extra
    error = np.sqrt(variance.sum(axis=-1)) / tasks
    centre = means.mean(axis=-1)
    return centre - c * error, centre + c * error, error


def _limits(pairs: Mapping[str, _Pairs], level: float, draws: np.ndarray | None) -> tuple[float, float, float]:
    c = _critical(pairs, level)
    if draws is not None:
        from scipy.special import ndtr

        low, high = np.quantile(draws, [ndtr(-c), ndtr(c)])
        return float(low), float(high), float(draws.std(ddof=1))
    low, high, error = difference_limits(
        np.array([p.values.sum() for p in pairs.values()]),
        np.array([(p.values**2).sum() for p in pairs.values()]),
        np.array([len(p.values) for p in pairs.values()]),
        c,
        unit=np.array([p.unit for p in pairs.values()]),
        extra=np.array([p.spread.variance - p.spread.independent for p in pairs.values()]),
    )
    return float(low), float(high), float(error)


def _draws(pairs: Mapping[str, _Pairs], resamples: int, rng: np.random.Generator | None, level: float) -> np.ndarray:
    if resamples < 100:
        raise FusionBenchError(f"{resamples} resamples", hint="an interval needs 100 at least; 2000 are usual")
    weight = _critical(pairs, level) ** 2 / (4 * len(pairs))
    atoms = [Atoms.of(p.values, p.grouping).with_pseudo_pair(p.unit, weight) for p in pairs.values()]
    units = [len(p.values) if p.grouping is None else len(p.grouping.sizes) for p in pairs.values()]
    return bootstrap_means(atoms, units, resamples, np.random.default_rng(0) if rng is None else rng)


def _critical(pairs: Mapping[str, _Pairs], level: float) -> float:
    spreads = [p.spread for p in pairs.values()]
    return float(critical(level, pooled_degrees([s.variance for s in spreads], [s.df for s in spreads])))


def _mean(pairs: Mapping[str, _Pairs]) -> float:
    return math.fsum(p.spread.mean for p in pairs.values()) / len(pairs)


def _pairs(
    first: Mapping[str, ArrayLike],
    second: Mapping[str, ArrayLike],
    clusters: Mapping[str, ArrayLike] | None,
) -> dict[str, _Pairs]:
    arrays = paired_arrays(first, second)
    groups = groupings(clusters, sizes_of({task: a for task, (a, _) in arrays.items()}))
    found = {}
    for task, (a, b) in arrays.items():
        unit = float(max(np.abs(a).max(), np.abs(b).max())) or 1.0
        found[task] = _Pairs(a - b, groups[task], spread(a - b, groups[task]), unit)
    return found
