"""How large a difference is, apart from how sure: Cohen's g and the odds ratio of pairs, Cohen's h of accuracies."""

from __future__ import annotations

import math

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.outcomes import check_level


def cohens_g(gained: int, lost: int) -> float:
    """gained / (gained + lost) − 1/2 in [-1/2, 1/2]: which way the discordant examples lean; NaN without any.

    Positive where the first run is better. 0.05 is called small, 0.15 medium, 0.25 large; it says nothing of how many
    examples are discordant.

    Source: Cohen 1988, "Statistical power analysis for the behavioral sciences", chapter 5.

    Example:
        >>> cohens_g(30, 10)
        0.25
    """
    _check(gained, lost)
    return gained / (gained + lost) - 0.5 if gained + lost else math.nan


def odds_ratio(gained: int, lost: int, *, level: float = 0.95) -> tuple[float, float, float]:
    """gained / lost, the odds ratio given the pairs, with its exact interval: ``(ratio, low, high)`` in [0, ∞].

    π / (1 − π) of the Clopper-Pearson limits of π = gained / (gained + lost): the interval contains 1 exactly where
    the two-sided exact McNemar test does not reject at 1 − ``level``. Without discordant examples the ratio is NaN and
    the interval [0, ∞].

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
    binomial".

    Example:
        >>> [round(x, 2) for x in odds_ratio(30, 10)]
        [3.0, 1.43, 6.88]
    """
    from scipy.special import betaincinv

    _check(gained, lost)
    rest = (1 - check_level(level)) / 2
    low = float(betaincinv(gained, lost + 1, rest)) if gained else 0.0
    high = float(betaincinv(gained + 1, lost, 1 - rest)) if lost else 1.0
    ratio = gained / lost if lost else math.inf if gained else math.nan
    return ratio, low / (1 - low), high / (1 - high) if lost else math.inf


def cohens_h(first: float, second: float) -> float:
    """2 arcsin √first − 2 arcsin √second in [-π, π]: a difference of two accuracies that counts alike near 0, ½ and 1.

    0.2 is called small, 0.5 medium, 0.8 large.

    Source: Cohen 1988, chapter 6.

    Example:
        >>> round(cohens_h(0.99, 0.97), 3), round(cohens_h(0.52, 0.5), 3)
        (0.148, 0.04)
    """
    for accuracy in (first, second):
        if not 0 <= accuracy <= 1:
            raise FusionBenchError(f"accuracy {accuracy}", hint="a fraction in [0, 1]")
    return 2 * math.asin(math.sqrt(first)) - 2 * math.asin(math.sqrt(second))


def _check(gained: int, lost: int) -> None:
    if gained < 0 or lost < 0:
        raise FusionBenchError(f"{gained} examples gained and {lost} lost", hint="counts are zero or more")
