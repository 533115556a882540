"""Metrics as scores of examples: against SciPy, against leaving each example out, and whether intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.intervals import accuracy_intervals, mean_accuracy_interval
from fusion_bench.metrics.paired import paired_difference
from fusion_bench.metrics.ranking import rank_runs
from fusion_bench.metrics.scores import example_scores, matthews, pearson, spearman, spearman_scores
from fusion_bench.metrics.seeds import seeded_mean


def pairs(rng: np.random.Generator, n: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal pairs of correlation ρ, in steps of a fifth as people rate similarity: many ties."""
    x = rng.normal(size=n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
    return np.round(x * 5) / 5, np.round(y * 5) / 5


@pytest.mark.parametrize("seed", range(5))
def test_spearman_is_scipys(seed: int) -> None:
    x, y = pairs(np.random.default_rng(seed), 200, 0.6)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_pearson_is_numpys_and_of_ranks_it_is_spearman(seed: int) -> None:
    x, y = pairs(np.random.default_rng(seed), 200, 0.6)
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert pearson(rankdata(x), rankdata(y)) == pytest.approx(spearman(x, y), abs=1e-12)
    assert pearson(3 * x - 7, y) == pytest.approx(pearson(x, y), abs=1e-12)


def test_a_model_that_always_says_the_same_orders_nothing() -> None:
    assert pearson(np.full(9, 0.1), np.arange(9.0)) == pearson(np.arange(9.0), np.full(9, 0.1)) == 0.0
    assert spearman(np.full(9, 0.1), np.arange(9.0)) == 0.0
    assert spearman_scores(np.full(9, 0.1), np.arange(9.0)).tolist() == [0.0] * 9


@given(st.integers(2, 60), st.integers(0, 10_000))
def test_matthews_of_two_classes_is_pearsons_correlation(n: int, seed: int) -> None:
    prediction, label = np.random.default_rng(seed).integers(0, 2, (2, n))
    assert matthews(prediction, label) == pytest.approx(pearson(prediction, label), abs=1e-12)


def test_matthews_of_more_classes_is_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_matthews_corrcoef

    prediction, label = np.random.default_rng(0).integers(0, 4, (2, 300))
    prediction[:150] = label[:150]
    theirs = multiclass_matthews_corrcoef(torch.from_numpy(prediction), torch.from_numpy(label), num_classes=4)
    assert matthews(prediction, label) == pytest.approx(float(theirs), abs=1e-6)
    assert matthews(prediction - 1, label - 1) == matthews(prediction, label)  # -1, no answer, is one like others
    assert matthews(np.zeros(9, dtype=int), np.arange(9)) == 0.0


@given(st.integers(3, 40), st.integers(0, 10_000), st.integers(1, 8))
def test_scores_are_those_of_leaving_each_example_out(n: int, seed: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, values, n).astype(float) for _ in range(2))
    without = np.array([spearman(np.delete(x, i), np.delete(y, i)) for i in range(n)])
    expected = example_scores(spearman(x, y), without)
    assert spearman_scores(x, y) == pytest.approx(expected, abs=1e-9)
    assert spearman_scores(x, y).mean() == pytest.approx(spearman(x, y), abs=1e-9)


def test_more_examples_than_one_block() -> None:
    x, y = pairs(np.random.default_rng(1), 700, 0.5)
    found = spearman_scores(x, y)
    for i in (0, 255, 256, 699):
        alone = spearman(np.delete(x, i), np.delete(y, i))
        assert found[i] - found[0] == pytest.approx(699 * (spearman(x[1:], y[1:]) - alone), abs=1e-7)


def test_intervals_of_a_correlation_cover() -> None:
    """95 % of draws, of ρ alone and in a mean with an accuracy; truth from one draw of a million."""
    truth = spearman(*pairs(np.random.default_rng(99), 1_000_000, 0.8))
    rng = np.random.default_rng(0)
    alone = together = 0
    draws = 400
    for _ in range(draws):
        scores = spearman_scores(*pairs(rng, 250, 0.8))
        right = rng.random(250) < 0.7
        (low, high) = accuracy_intervals({"t": scores})["t"]
        alone += low <= truth <= high
        low, high = mean_accuracy_interval({"t": scores, "u": right})
        together += low <= (truth + 0.7) / 2 <= high
    assert 0.92 <= alone / draws <= 0.98
    assert 0.92 <= together / draws <= 0.98


def test_paired_differences_of_correlations_cover_and_hold_their_level() -> None:
    rng = np.random.default_rng(2)
    covered = rejected = 0
    draws = 300
    for _ in range(draws):
        y = rng.normal(size=200)
        shared = rng.normal(size=200)  # two models err alike
        first, second = (y + shared + 0.5 * rng.normal(size=200) for _ in range(2))
        found = paired_difference({"t": spearman_scores(first, y)}, {"t": spearman_scores(second, y)})
        covered += found.low <= 0 <= found.high
        rejected += found.p_value <= 0.05
    assert 0.92 <= covered / draws <= 0.98
    assert rejected / draws <= 0.08


def test_a_better_order_is_found() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=400)
    runs = {name: {"t": spearman_scores(y + noise * rng.normal(size=400), y)} for name, noise in (("a", 0.4), ("b", 1))}
    assert paired_difference(runs["a"], runs["b"]).p_value < 1e-6
    ranking = rank_runs({**runs, "c": runs["b"]})
    assert ranking.groups == (("a",), ("b", "c"))


def test_seeds_of_a_correlation() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=300)
    runs = [{"t": spearman_scores(y + rng.normal(size=300), y)} for _ in range(4)]
    found = seeded_mean(runs)
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(np.mean([run["t"].mean() for run in runs]))


def test_a_negative_correlation_is_not_cut_off() -> None:
    x, y = pairs(np.random.default_rng(5), 100, -0.9)
    low, high = mean_accuracy_interval({"t": spearman_scores(x, y)})
    assert -1.05 < low < spearman(x, y) < high < -0.7


def test_bad_input() -> None:
    with pytest.raises(FusionBenchError, match=r"shapes \(2,\) and \(3,\)"):
        spearman(np.arange(2.0), np.arange(3.0))
    with pytest.raises(FusionBenchError, match="not finite"):
        spearman(np.array([0, np.nan]), np.arange(2.0))
    with pytest.raises(FusionBenchError, match="of 2 examples"):
        spearman_scores(np.arange(2.0), np.arange(2.0))
    with pytest.raises(FusionBenchError, match="1 example"):
        example_scores(0.0, np.zeros(1))
