"""The gate is quiet and sharp at once, by simulated nights of the whole matrix; docs/regression.md has more of them."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_bench.regression import Settings
from fusion_bench.regression.simulation import ELSEWHERE, Night, catches, false_alarms

HERE = Night()
ROUNDED = Night(churn=0.0002, machine=ELSEWHERE)
TRAINED = Night(churn=0.02, deterministic=False)


@pytest.mark.parametrize("night", [HERE, ROUNDED, TRAINED], ids=["here", "rounded", "trained"])
def test_a_night_without_a_change_fails_one_time_in_a_hundred_at_most(night: Night) -> None:
    alarms = false_alarms(night, Settings(), nights=300, rng=np.random.default_rng(1))
    assert alarms <= 8  # P(Bin(300, 0.01) > 8) < 0.004


@pytest.mark.parametrize("night", [HERE, ROUNDED], ids=["here", "rounded"])
@pytest.mark.parametrize("exact", [True, False], ids=["exactly", "on average"])
@pytest.mark.parametrize("drop", [[0.01] + [0.0] * 7, [0.005] * 8], ids=["1 point of one task", "0.5 of the mean"])
def test_a_real_drop_is_caught_nine_times_in_ten(night: Night, exact: bool, drop: list[float]) -> None:
    caught = catches(night, Settings(), drop, draws=100, rng=np.random.default_rng(2), exact=exact)
    assert caught >= 95


def test_what_chance_moves_is_hard_to_tell_from_a_drop() -> None:
    caught = catches(TRAINED, Settings(), [0.01] + [0.0] * 7, draws=50, rng=np.random.default_rng(3))
    assert caught < 25  # the simulation can fail: two per cent of churn hide one point of one task


def test_a_looser_level_fails_more_often() -> None:
    alarms = false_alarms(TRAINED, Settings(level=0.9), nights=30, rng=np.random.default_rng(4))
    assert alarms > 3
