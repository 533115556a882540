"""McNemar's exact test: on how many examples of a task only one of two runs is right, and which one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.outcomes import check_alternative, paired_arrays


@dataclass(frozen=True)
class McNemar:
    """One task of two runs.

    Of ``n`` examples the first run ``gained`` those that it alone has right and ``lost`` those that the second alone
    has right; ``difference`` = (gained − lost) / n = accuracy(first) − accuracy(second); ``p_value`` against
    ``alternative``.
    """

    n: int
    gained: int
    lost: int
    difference: float
    p_value: float
    alternative: str

    @property
    def discordant(self) -> int:
        """Examples that exactly one run has right."""
        return self.gained + self.lost


def mcnemar_tests(
    first: Mapping[str, ArrayLike], second: Mapping[str, ArrayLike], *, alternative: str = "two-sided"
) -> dict[str, McNemar]:
    """The exact test of each task (uncorrected: see `multiplicity.holm`).

    Examples must be independent; where a task has clusters, `sign_flip.sign_flip_test` of that task alone is the test
    that respects them.

    Args:
        first: per task a bool or 0/1 array with one entry an example, two or more; ``second`` alike.
        alternative: "less" asks whether the first is worse, "greater" whether it is better.

    Example:
        >>> mcnemar_tests({"t": [1, 1, 1, 1, 1, 1, 0]}, {"t": [0, 0, 0, 0, 0, 0, 1]})["t"]
        McNemar(n=7, gained=6, lost=1, difference=0.7142857142857143, p_value=0.125, alternative='two-sided')
    """
    found = {}
    for task, (a, b) in paired_arrays(first, second, binary=True).items():
        gained, lost = int((a > b).sum()), int((a < b).sum())
        p_value = float(mcnemar_p_values(gained, lost, alternative=alternative))
        found[task] = McNemar(len(a), gained, lost, (gained - lost) / len(a), p_value, alternative)
    return found


def mcnemar_p_values(gained: ArrayLike, lost: ArrayLike, *, alternative: str = "two-sided") -> Any:
    """Exact p-values from counts, of any one shape: of D = gained + lost fair coins, B ~ Bin(D, 1/2) heads.

    "less": P(B ≤ gained); "greater": P(B ≤ lost); "two-sided": min(1, 2 P(B ≤ min(gained, lost))).

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages".

    Example:
        >>> mcnemar_p_values([5, 0], [0, 5], alternative="less")
        array([1.     , 0.03125])
    """
    from scipy.special import bdtr

    check_alternative(alternative)
    a, b = np.asarray(gained), np.asarray(lost)
    if (np.minimum(a, b) < 0).any():
        raise FusionBenchError("a negative number of discordant examples")
    # as floats: bdtr takes whole numbers of its first argument, of any size
    heads = {"less": a, "greater": b, "two-sided": np.minimum(a, b)}[alternative].astype(np.float64)
    one_sided = bdtr(heads, (a + b).astype(np.int64), 0.5)
    return np.minimum(1.0, 2 * one_sided) if alternative == "two-sided" else one_sided
