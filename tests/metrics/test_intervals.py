"""Intervals cover what they claim to, and closed forms agree with the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import mean_accuracy_interval, paired_difference_interval, wilson_interval


def test_wilson_against_its_formula() -> None:
    p, n, z = 0.3, 50, 1.959963984540054
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson_interval(15, 50) == pytest.approx((centre - half, centre + half))


def test_the_interval_of_the_mean_covers_in_95_of_100_draws() -> None:
    rng = np.random.default_rng(0)
    truth = {"a": 0.9, "b": 0.5, "c": 0.7}
    hits = 0
    draws = 1500
    for _ in range(draws):
        low, high = mean_accuracy_interval({task: rng.random(300) < p for task, p in truth.items()})
        hits += low <= np.mean(list(truth.values())) <= high
    assert 0.935 <= hits / draws <= 0.965


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(1000)
    a, b = {"t": hard < 0.72}, {"t": hard < 0.70}
    difference, low, high = paired_difference_interval(a, b)
    assert low > 0
    apart = paired_difference_interval(a, {"t": rng.permutation(b["t"])})
    assert high - low < (apart[2] - apart[1]) / 3
    assert difference == pytest.approx(a["t"].mean() - b["t"].mean())


def test_the_bootstrap_agrees_with_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    a = {task: rng.random(400) < 0.8 for task in "ab"}
    b = {task: rng.random(400) < 0.7 for task in "ab"}
    closed = paired_difference_interval(a, b)
    boot = paired_difference_interval(a, b, resamples=4000, rng=np.random.default_rng(3))
    assert np.allclose(closed, boot, atol=0.004)


def test_tasks_count_alike_whatever_their_size() -> None:
    low, high = mean_accuracy_interval({"small": [1, 1, 1, 0] * 10, "large": [0, 0, 0, 1] * 1000})
    assert (low + high) / 2 == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [{"a": [1]}, {"a": []}])
def test_too_few_examples(bad: dict[str, list[int]]) -> None:
    with pytest.raises(FusionBenchError, match="at least two"):
        mean_accuracy_interval(bad)


def test_runs_that_cannot_be_paired() -> None:
    with pytest.raises(FusionBenchError, match="same tasks"):
        paired_difference_interval({"a": [1, 0]}, {"b": [1, 0]})
    with pytest.raises(FusionBenchError, match="2 and 3 examples"):
        paired_difference_interval({"a": [1, 0]}, {"a": [1, 0, 1]})
