"""Power as predicted is power as simulated with the very tests that it speaks of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.mcnemar import mcnemar_p_values
from fusion_bench.metrics.power import (
    detectable_difference,
    detectable_mean_difference,
    discordant_shares,
    mean_power,
    task_power,
)
from fusion_bench.metrics.sign_flip import sign_flip_test
from tests.metrics.simulation import SIZES


def _agree(predicted: float, rejected: np.ndarray, slack: float = 0.0) -> bool:
    error = math.sqrt(max(predicted * (1 - predicted), 1e-4) / rejected.size)
    return abs(rejected.mean() - predicted) <= 3.5 * error + slack


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize(
    ("difference", "n", "churn", "comparisons"),
    [(-0.01, 2000, 0.05, 1), (-0.02, 1250, 0.1, 9), (0.005, 1250, 0.006, 1), (-0.05, 60, 0.2, 1), (0.0, 500, 0.1, 1)],
)
def test_one_task_against_simulation(
    difference: float, n: int, churn: float, comparisons: int, alternative: str
) -> None:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n, [(churn + difference) / 2, (churn - difference) / 2, 1 - churn], size=100_000)
    rejected = mcnemar_p_values(counts[:, 0], counts[:, 1], alternative=alternative) <= 0.05 / comparisons
    assert _agree(task_power(difference, n, churn, comparisons=comparisons, alternative=alternative), rejected)


def test_one_task_against_the_sum_over_all_outcomes() -> None:
    n, churn, difference = 40, 0.3, 0.2
    expected = 0.0
    for d in range(n + 1):
        gained = np.arange(d + 1)
        rejected = mcnemar_p_values(gained, d - gained) <= 0.05
        expected += binom.pmf(d, n, churn) * binom.pmf(gained, d, (1 + difference / churn) / 2)[rejected].sum()
    assert task_power(difference, n, churn) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("alternative", ["two-sided", "less"])
@pytest.mark.parametrize(
    ("sizes", "difference", "churn", "comparisons"),
    [
        (np.array([200, 230, 260, 290]), -0.03, 0.08, 1),
        (np.array([200, 230, 260, 290]), -0.008, 0.012, 1),
        (np.array([100, 150, 400]), -0.04, 0.1, 5),
    ],
)
def test_the_mean_against_simulation(
    sizes: np.ndarray, difference: float, churn: float, comparisons: int, alternative: str
) -> None:
    rng = np.random.default_rng(1)
    rejected = []
    for _ in range(2000):
        tasks = {}
        for k, n in enumerate(sizes):
            gained, lost, rest = rng.multinomial(n, [(churn + difference) / 2, (churn - difference) / 2, 1 - churn])
            tasks[str(k)] = np.repeat([1, -1, 0], [gained, lost, rest])
        rejected.append(sign_flip_test(tasks, alternative=alternative) <= 0.05 / comparisons)
    named = {str(k): int(n) for k, n in enumerate(sizes)}
    predicted = mean_power(difference, named, churn, comparisons=comparisons, alternative=alternative)
    assert 0.2 < predicted < 0.97
    assert _agree(predicted, np.array(rejected), slack=0.02)


def test_shares_that_differ_between_tasks() -> None:
    rng = np.random.default_rng(2)
    sizes, churns, difference = {"a": 300, "b": 400, "c": 500}, {"a": 0.2, "b": 0.05, "c": 0.1}, 0.03
    rejected = []
    for _ in range(2000):
        tasks = {}
        for task, n in sizes.items():
            q = churns[task]
            counts = rng.multinomial(n, [(q + difference) / 2, (q - difference) / 2, 1 - q])
            tasks[task] = np.repeat([1, -1, 0], counts)
        rejected.append(sign_flip_test(tasks) <= 0.05)
    assert _agree(mean_power(difference, sizes, churns), np.array(rejected), slack=0.02)


def test_equal_tasks_are_one_pooled_task() -> None:
    sizes = {str(k): 250 for k in range(8)}
    assert mean_power(-0.01, sizes, 0.05) == pytest.approx(task_power(-0.01, 2000, 0.05))


def test_clusters_cost_examples() -> None:
    sizes = {"a": 1000, "b": 1010}
    effects = {"a": 4.0, "b": 4.0}
    assert mean_power(0.02, sizes, 0.1, design_effects=effects) == pytest.approx(
        mean_power(0.02, {"a": 250, "b": 252}, 0.1), abs=0.01
    )
    assert detectable_mean_difference(sizes, 0.1, design_effects=effects) == pytest.approx(
        2 * detectable_mean_difference(sizes, 0.1), rel=0.03
    )


def test_the_smallest_difference_has_the_power_asked_for() -> None:
    for power in (0.5, 0.9):
        found = detectable_difference(2000, 0.05, power=power, comparisons=9, alternative="less")
        assert task_power(-found, 2000, 0.05, comparisons=9, alternative="less") == pytest.approx(power, abs=1e-3)
        sizes = {str(n): int(n) for n in SIZES}
        found = detectable_mean_difference(sizes, 0.05, power=power)
        assert mean_power(found, sizes, 0.05) == pytest.approx(power, abs=1e-3)


def test_what_the_issue_asks_of_the_gate() -> None:
    # one point on one task of 2,000 examples, nothing else changed: all discordant examples are lost ones
    assert task_power(-0.01, 2000, 0.01, alternative="less", comparisons=500) > 0.9
    assert detectable_difference(2000, 0.0, power=0.9, alternative="less") < 0.005


def test_agreement_makes_differences_visible() -> None:
    found = [detectable_difference(1250, churn) for churn in (0.3, 0.1, 0.03, 0.01)]
    assert found == sorted(found, reverse=True)
    # where runs agree but for the drop, it takes about six lost examples and none gained
    assert detectable_difference(1250, 0.0, power=0.5) * 1250 == pytest.approx(5.67, abs=0.1)


def test_what_no_test_can_find() -> None:
    assert detectable_difference(5, 0.5) == math.inf
    assert task_power(1.0, 5, 0.5) == 0
    assert task_power(0.0, 100, 0.0) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 3000), st.floats(0.01, 0.6), st.floats(0, 1), st.integers(1, 50))
def test_power_is_a_probability_that_grows(n: int, churn: float, part: float, comparisons: int) -> None:
    small, large = (task_power(churn * x, n, churn, comparisons=comparisons) for x in (part / 2, part))
    assert 0 <= small <= large + 1e-9 <= 1 + 2e-9
    mirrored = task_power(-churn * part, n, churn, comparisons=comparisons)
    assert mirrored == pytest.approx(large, abs=1e-9)
    assert task_power(churn * part, n, churn, comparisons=comparisons + 1) <= large + 1e-9


def test_shares_of_two_runs() -> None:
    assert discordant_shares({"a": [1, 0, 1, 1], "b": [0, 0]}, {"a": [0, 1, 1, 1], "b": [0, 0]}) == {"a": 0.5, "b": 0}


def test_bad_input() -> None:
    with pytest.raises(FusionBenchError, match="difference of 2"):
        task_power(2, 100, 0.1)
    with pytest.raises(FusionBenchError, match="0 comparisons"):
        task_power(0.1, 100, 0.1, comparisons=0)
    with pytest.raises(FusionBenchError, match="level 1"):
        task_power(0.1, 100, 0.1, alpha=1)
    with pytest.raises(FusionBenchError, match="did you mean 'mnist'"):
        mean_power(0.1, {"mnist": 10}, {"mnis": 0.1})
    with pytest.raises(FusionBenchError, match="no share of discordant examples for letters"):
        mean_power(0.1, {"mnist": 10, "letters": 10}, {"mnist": 0.1})
    with pytest.raises(FusionBenchError, match="design effects"):
        mean_power(0.1, {"mnist": 10}, 0.1, design_effects={"letters": 3.0})
    with pytest.raises(FusionBenchError, match="power 1"):
        detectable_difference(100, 0.1, power=1)
    with pytest.raises(FusionBenchError, match="no task"):
        mean_power(0.1, {}, 0.1)
