"""The exact test of one task: statsmodels agrees, and it holds its level without wasting it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.contingency_tables import mcnemar

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.mcnemar import mcnemar_p_values, mcnemar_tests


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (0, 5), (7, 3), (12, 12), (150, 190), (1000, 900)])
def test_against_statsmodels_and_scipy(gained: int, lost: int) -> None:
    expected = mcnemar([[50, gained], [lost, 20]], exact=True).pvalue
    assert mcnemar_p_values(gained, lost) == pytest.approx(expected)
    if gained + lost:
        for alternative in ("less", "greater"):
            one_sided = binomtest(gained, gained + lost, alternative=alternative).pvalue
            assert mcnemar_p_values(gained, lost, alternative=alternative) == pytest.approx(one_sided)


def test_what_is_gained_and_what_is_lost() -> None:
    new = {"a": [1, 1, 0, 0, 1], "b": [1, 1, 0, 0, 0]}
    old = {"a": [1, 0, 1, 1, 0], "b": [1, 1, 0, 0, 0]}
    found = mcnemar_tests(new, old)
    assert (found["a"].gained, found["a"].lost, found["a"].discordant, found["a"].n) == (2, 2, 4, 5)
    assert found["b"].p_value == 1.0
    worse = mcnemar_tests({"t": np.zeros(10)}, {"t": np.ones(10)}, alternative="less")["t"]
    assert worse.difference == -1
    assert worse.p_value == pytest.approx(2**-10)
    assert mcnemar_tests({"t": np.ones(10)}, {"t": np.zeros(10)}, alternative="less")["t"].p_value == 1.0


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_the_level_is_held_exactly(alternative: str) -> None:
    # no simulation: every outcome of D coins, weighted by its probability
    for d in (5, 23, 200, 2000):
        gained = np.arange(d + 1)
        rejected = mcnemar_p_values(gained, d - gained, alternative=alternative) <= 0.05
        size = binom.pmf(gained, d, 0.5)[rejected].sum()
        assert size <= 0.05
        if d == 2000:
            assert size > 0.045


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60), st.randoms(use_true_random=False))
def test_order_is_nothing_and_swapping_mirrors(pairs: list[tuple[bool, bool]], random: object) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    found, swapped = mcnemar_tests({"t": a}, {"t": b})["t"], mcnemar_tests({"t": b}, {"t": a})["t"]
    assert (found.gained, found.lost, found.p_value) == (swapped.lost, swapped.gained, swapped.p_value)
    less = mcnemar_tests({"t": a}, {"t": b}, alternative="less")["t"].p_value
    assert less == mcnemar_tests({"t": b}, {"t": a}, alternative="greater")["t"].p_value
    mixed = random.sample(pairs, len(pairs))
    assert mcnemar_tests({"t": [x for x, _ in mixed]}, {"t": [y for _, y in mixed]})["t"] == found


def test_bad_input() -> None:
    with pytest.raises(FusionBenchError, match="alternative 'worse'"):
        mcnemar_tests({"t": [1, 0]}, {"t": [1, 0]}, alternative="worse")
    with pytest.raises(FusionBenchError, match="negative"):
        mcnemar_p_values(-1, 3)
