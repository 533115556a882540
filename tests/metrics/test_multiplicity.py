"""Holm's correction against statsmodels, and the family-wise error it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import holm
from fusion_bench.metrics.mcnemar import mcnemar_p_values
from tests.metrics.simulation import at_most, share


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_against_statsmodels(p_values: list[float]) -> None:
    found = holm(dict(enumerate(p_values)))
    assert list(found) == list(range(len(p_values)))
    assert list(found.values()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_keys_of_any_kind() -> None:
    found = holm({("ties", "mnist"): 0.01, ("dare", "mnist"): 0.5})
    assert found == {("ties", "mnist"): 0.02, ("dare", "mnist"): 0.5}
    assert holm({}) == {}


def test_what_is_no_p_value() -> None:
    with pytest.raises(FusionBenchError, match=r"'letters'.* is not a number"):
        holm({("ties", "mnist"): 0.2, ("ties", "letters"): float("nan")})
    with pytest.raises(FusionBenchError, match=r"mnist is 1\.5"):
        holm({"mnist": 1.5})


def test_the_family_wise_error_is_held() -> None:
    # eight tasks; five have no difference, three have a large one: no false alarm among the five in 95 of 100 draws
    rng = np.random.default_rng(0)
    draws = 10_000
    gained = np.concatenate([rng.binomial(400, 0.5, (draws, 5)), rng.binomial(400, 0.62, (draws, 3))], axis=1)
    p_values = mcnemar_p_values(gained, 400 - gained)
    corrected = np.array([list(holm(dict(enumerate(row))).values()) for row in p_values])
    false_alarm = (corrected[:, :5] <= 0.05).any(axis=1)
    assert at_most(false_alarm, 0.05)
    assert share(false_alarm) > 0.02
    assert share((p_values[:, :5] <= 0.05).any(axis=1)) > 0.15
    assert share((corrected[:, 5:] <= 0.05).all(axis=1)) > 0.9
