"""Intervals of accuracies cover what they claim to, near 0 and 1 and with clusters as well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import mean_accuracy_interval, wilson_interval
from fusion_bench.metrics.intervals import (
    accuracy_intervals,
    sampled_tasks_interval,
    stratified_limits,
    student_limits,
)
from fusion_bench.metrics.variance import Layout, clustered, critical, pooled_degrees
from tests.metrics.simulation import FAMILIES, SIZES, clustered_counts, covers, share

DRAWS = 20_000
Z = float(critical(0.95))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 30), (17, 30), (1242, 1250), (1250, 1250)])
def test_wilson_against_statsmodels(correct: int, n: int, level: float) -> None:
    expected = proportion_confint(correct, n, alpha=1 - level, method="wilson")
    assert wilson_interval(correct, n, level=level) == pytest.approx(expected, abs=1e-12)


def test_wilson_covers_on_average_over_accuracies() -> None:
    # the coverage at one accuracy oscillates with n·p; exact coverage, averaged over a range, is what can be claimed
    from scipy.stats import binom

    for n in (50, 1250):
        outcomes = np.arange(n + 1)
        low, high = stratified_limits(
            (outcomes / n)[:, None], (outcomes * (n - outcomes) / n**3)[:, None], np.array([n]), Z
        )
        accuracies = np.linspace(0.5, 0.98, 200)
        coverage = [binom.pmf(outcomes, n, p)[covers(low, high, p)].sum() for p in accuracies]
        assert 0.945 <= np.mean(coverage) <= 0.955
        assert min(coverage) > 0.9


def test_a_design_effect_is_fewer_examples() -> None:
    assert wilson_interval(80, 100, design_effect=4) == pytest.approx(wilson_interval(20, 25))
    wide, narrow = wilson_interval(80, 100, df=5), wilson_interval(80, 100)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize(
    "accuracies",
    [
        np.linspace(0.5, 0.95, 8),
        np.full(8, 0.99),
        np.full(8, 0.998),
        np.array([0.999] * 7 + [0.5]),
    ],
)
def test_the_mean_covers(accuracies: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    p = rng.binomial(SIZES, accuracies, size=(DRAWS, 8)) / SIZES
    low, high = stratified_limits(p, p * (1 - p) / SIZES, SIZES, Z)
    assert 0.94 <= share(covers(low, high, accuracies.mean())) <= 0.96
    assert (high > low).all()


def test_the_mean_covers_where_tasks_are_small() -> None:
    sizes, accuracies = np.array([30, 60, 200, 1000]), np.array([0.9, 0.8, 0.95, 0.6])
    p = np.random.default_rng(1).binomial(sizes, accuracies, size=(DRAWS, 4)) / sizes
    low, high = stratified_limits(p, p * (1 - p) / sizes, sizes, Z)
    assert 0.94 <= share(covers(low, high, accuracies.mean())) <= 0.96


def test_no_certainty_from_perfect_runs() -> None:
    low, high = mean_accuracy_interval({"a": np.ones(100), "b": np.ones(100)})
    # as the two tasks' 200 examples would say together
    assert (low, high) == pytest.approx(wilson_interval(200, 200))
    assert mean_accuracy_interval({"a": np.zeros(50)}) == pytest.approx(wilson_interval(0, 50))
    mixed = mean_accuracy_interval({"a": np.zeros(50), "b": np.ones(50)})
    assert mixed[0] < 0.5 < mixed[1]


def test_equal_tasks_are_the_pooled_counts() -> None:
    tasks = {str(k): [1] * 9 + [0] for k in range(5)}
    assert mean_accuracy_interval(tasks) == pytest.approx(wilson_interval(45, 50))


def test_large_samples_are_the_textbook_interval() -> None:
    rng = np.random.default_rng(2)
    tasks = {str(k): rng.random(200_000) < 0.6 + 0.05 * k for k in range(4)}
    mean = np.mean([v.mean() for v in tasks.values()])
    half = 1.959963984540054 * np.sqrt(sum(v.var() / v.size for v in tasks.values())) / 4
    assert mean_accuracy_interval(tasks) == pytest.approx((mean - half, mean + half), abs=1e-5)


def test_tasks_count_alike_whatever_their_size() -> None:
    low, high = mean_accuracy_interval({"small": [1, 1, 1, 0] * 1000, "large": [0, 0, 0, 1] * 100_000})
    assert (low + high) / 2 == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("correlation", [0.02, 0.1])
def test_the_clustered_mean_covers_and_the_naive_one_does_not(correlation: float) -> None:
    # one task in 26 unequal clusters, two in many small ones: what the embedded pool looks like
    rng = np.random.default_rng(3)
    layouts = [FAMILIES, np.full(400, 3), np.tile([1, 1, 2, 5, 20], 42)]
    accuracies = [0.8, 0.6, 0.9]
    p, variances, degrees, sizes = [], [], [], []
    for clusters, accuracy in zip(layouts, accuracies, strict=True):
        counts = clustered_counts(rng, DRAWS // 2, clusters, [accuracy, 1 - accuracy], correlation)[..., 0]
        n, layout = clusters.sum(), Layout.of(clusters)
        mean = counts.sum(axis=1) / n
        errors = counts - clusters * mean[:, None]
        variance, df = clustered(
            n * mean * (1 - mean),
            (errors**2 * layout.correction).sum(axis=1),
            (errors**2 / clusters).sum(axis=1),
            layout,
        )
        p.append(mean)
        variances.append(variance)
        degrees.append(df)
        sizes.append(n)
    mean, spread, n = np.stack(p, -1), np.stack(variances, -1), np.array(sizes)
    truth = float(np.mean(accuracies))
    effective = mean * (1 - mean) / (n - 1) / spread * n
    c = critical(0.95, pooled_degrees(spread, np.stack(degrees, -1)))
    assert 0.94 <= share(covers(*stratified_limits(mean, mean * (1 - mean) / effective, effective, c), truth)) <= 0.96
    naive = share(covers(*stratified_limits(mean, mean * (1 - mean) / n, n, Z), truth))
    assert naive < (0.9 if correlation == 0.02 else 0.7)


def test_one_clustered_task_covers() -> None:
    rng = np.random.default_rng(4)
    draws, labels = 3000, np.repeat(np.arange(len(FAMILIES)), FAMILIES)
    hits, naive = [], []
    for counts in clustered_counts(rng, draws, FAMILIES, [0.7, 0.3], 0.05)[..., 0]:
        values = (np.arange(FAMILIES.max()) < counts[:, None])[np.arange(FAMILIES.max()) < FAMILIES[:, None]]
        hits.append(covers(*accuracy_intervals({"t": values}, clusters={"t": labels})["t"], 0.7))
        naive.append(covers(*accuracy_intervals({"t": values})["t"], 0.7))
    # few and unequal clusters: on the safe side
    assert 0.94 <= np.mean(hits) <= 0.975
    assert np.mean(naive) < 0.75


def test_the_simulated_formula_is_the_functions() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(len(FAMILIES)), FAMILIES)
    local = rng.beta(8, 2, size=len(FAMILIES))
    tasks = {"a": rng.random(FAMILIES.sum()) < local[labels], "b": rng.random(900) < 0.7}
    means = np.array([v.mean() for v in tasks.values()])
    counts = np.bincount(labels, tasks["a"])
    layout, n = Layout.of(FAMILIES), FAMILIES.sum()
    errors = counts - FAMILIES * means[0]
    variance, df = clustered(
        n * means[0] * (1 - means[0]), (errors**2 * layout.correction).sum(), (errors**2 / FAMILIES).sum(), layout
    )
    independent = means * (1 - means) / (np.array([n, 900]) - 1)
    effective = np.array([n * independent[0] / variance, 900])
    c = critical(0.95, pooled_degrees([variance, independent[1]], [df, np.inf]))
    expected = stratified_limits(means, means * (1 - means) / effective, effective, c)
    assert mean_accuracy_interval(tasks, clusters={"a": labels}) == pytest.approx(expected)


def test_other_tasks_are_less_certain_than_other_examples() -> None:
    rng = np.random.default_rng(6)
    tasks = {str(k): rng.random(500) < p for k, p in enumerate([0.5, 0.7, 0.9, 0.8])}
    fixed, sampled = mean_accuracy_interval(tasks), sampled_tasks_interval(tasks)
    assert sampled[0] < fixed[0] < fixed[1] < sampled[1]
    accuracies = np.array([v.mean() for v in tasks.values()])
    half = 3.182446305284263 * accuracies.std(ddof=1) / 2  # t with 3 degrees of freedom, from a table
    assert sampled == pytest.approx((accuracies.mean() - half, min(1, accuracies.mean() + half)))
    # tasks that happen to be alike do not make their examples certain
    alike = {str(k): [1, 1, 0] * 20 for k in range(4)}
    assert sampled_tasks_interval(alike) == pytest.approx(mean_accuracy_interval(alike))


def test_the_mean_over_sampled_tasks_covers() -> None:
    rng = np.random.default_rng(7)
    tasks = rng.beta(12, 6, size=(DRAWS, 8))
    low, high = student_limits(rng.binomial(1250, tasks) / 1250)
    assert 0.94 <= share(covers(low, high, 12 / 18)) <= 0.96


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2, 40), st.integers(0, 40)), min_size=1, max_size=5),
    st.sampled_from([0.8, 0.95, 0.99]),
    st.randoms(use_true_random=False),
)
def test_order_changes_nothing_and_the_mean_is_inside(
    counts: list[tuple[int, int]], level: float, random: object
) -> None:
    tasks = {str(k): [1] * min(right, n) + [0] * (n - min(right, n)) for k, (n, right) in enumerate(counts)}
    low, high = mean_accuracy_interval(tasks, level=level)
    mean = float(np.mean([np.mean(v) for v in tasks.values()]))
    assert 0 <= low < high <= 1
    assert low <= mean + 1e-12
    assert mean <= high + 1e-12
    shuffled = list(tasks.items())
    random.shuffle(shuffled)
    permuted = {task: random.sample(v, len(v)) for task, v in shuffled}
    assert mean_accuracy_interval(permuted, level=level) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("bad", [{"a": [1]}, {"a": []}])
def test_too_few_examples(bad: dict[str, list[int]]) -> None:
    with pytest.raises(FusionBenchError, match="at least two"):
        mean_accuracy_interval(bad)


def test_bad_counts() -> None:
    for correct, n in ((5, 4), (-1, 4), (0, 0), (float("nan"), 4)):
        with pytest.raises(FusionBenchError, match="no proportion"):
            wilson_interval(correct, n)
    with pytest.raises(FusionBenchError, match="design effect"):
        wilson_interval(3, 4, design_effect=0.5)
    with pytest.raises(FusionBenchError, match="one task, a"):
        sampled_tasks_interval({"a": [1, 0]})
