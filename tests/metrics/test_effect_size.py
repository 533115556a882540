"""Effect sizes against statsmodels, and in step with the tests that go with them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint, proportion_effectsize

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.effect_size import cohens_g, cohens_h, odds_ratio
from fusion_bench.metrics.mcnemar import mcnemar_p_values


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.5), (0.99, 0.97), (0.0, 1.0), (0.3, 0.8)])
def test_h_against_statsmodels(first: float, second: float) -> None:
    assert cohens_h(first, second) == pytest.approx(proportion_effectsize(first, second))


def test_g_by_hand() -> None:
    assert cohens_g(10, 30) == -0.25
    assert cohens_g(7, 0) == 0.5
    assert math.isnan(cohens_g(0, 0))


@pytest.mark.parametrize(("gained", "lost"), [(30, 10), (4, 9), (200, 180)])
def test_odds_ratio_against_statsmodels(gained: int, lost: int) -> None:
    low, high = proportion_confint(gained, gained + lost, method="beta")
    assert odds_ratio(gained, lost) == pytest.approx((gained / lost, low / (1 - low), high / (1 - high)))


def test_odds_ratio_at_the_ends() -> None:
    ratio, low, high = odds_ratio(8, 0)
    assert ratio == high == math.inf
    assert 1 < low < 8
    assert odds_ratio(0, 8) == pytest.approx((0, 0, 1 / low))
    ratio, low, high = odds_ratio(0, 0)
    assert math.isnan(ratio)
    assert (low, high) == (0, math.inf)


@given(st.integers(0, 80), st.integers(0, 80))
def test_the_interval_and_the_test_agree(gained: int, lost: int) -> None:
    _, low, high = odds_ratio(gained, lost)
    assert (low <= 1 <= high) == (mcnemar_p_values(gained, lost) > 0.05)


def test_bad_input() -> None:
    with pytest.raises(FusionBenchError, match="-1"):
        cohens_g(-1, 3)
    with pytest.raises(FusionBenchError, match=r"accuracy 1\.2"):
        cohens_h(1.2, 0.5)
