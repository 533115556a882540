"""The bootstrap drawn as counts is the bootstrap, and its interval covers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fusion_bench.metrics import paired_difference
from fusion_bench.metrics.bootstrap import Atoms, bootstrap_means
from fusion_bench.metrics.outcomes import groupings
from fusion_bench.metrics.paired import paired_difference_interval
from tests.metrics.simulation import covers, run_pair, share


def test_draws_have_the_law_of_resampled_examples() -> None:
    rng = np.random.default_rng(0)
    tasks = [rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.8, 0.15], size=n) for n in (60, 90)]
    draws = bootstrap_means([Atoms.of(v) for v in tasks], [60, 90], 40_000, np.random.default_rng(1))
    # example by example, one example fewer than there are
    slow = sum(v[rng.integers(len(v), size=(40_000, len(v) - 1))].mean(axis=1) for v in tasks) / 2
    assert stats.ks_2samp(draws, slow).pvalue > 0.01
    assert draws.var() == pytest.approx(sum(v.var(ddof=1) / v.size for v in tasks) / 4, rel=0.05)


def test_cluster_draws_have_the_law_of_resampled_clusters() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(12, size=80)
    values = rng.choice([-1.0, 0.0, 1.0], p=[0.2, 0.5, 0.3], size=80) + (labels % 3 == 0)
    grouping = groupings({"t": labels}, {"t": 80})["t"]
    draws = bootstrap_means([Atoms.of(values, grouping)], [len(np.unique(labels))], 40_000, np.random.default_rng(3))
    sums, sizes = np.bincount(labels, values), np.bincount(labels)
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    drawn = rng.integers(len(sizes), size=(40_000, len(sizes) - 1))
    assert stats.ks_2samp(draws, sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)).pvalue > 0.01


def test_against_scipy() -> None:
    rng = np.random.default_rng(4)
    a, b = run_pair(rng, 1500, 0.12, 0.08)
    result = stats.bootstrap(
        (a.astype(float) - b,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(5)
    )
    found = paired_difference({"t": a}, {"t": b}, resamples=20_000)
    # the discordant examples that are added widen and shrink it by less than an example
    assert (found.low, found.high) == pytest.approx(tuple(result.confidence_interval), abs=1 / 1500)
    assert found.standard_error == pytest.approx(result.standard_error, rel=0.03)


def test_agrees_with_the_closed_form() -> None:
    rng = np.random.default_rng(6)
    pairs = {t: run_pair(rng, 400, 0.2, 0.12) for t in "ab"}
    labels = {"a": rng.integers(30, size=400)}
    for clusters in (None, labels):
        a, b = {t: p[0] for t, p in pairs.items()}, {t: p[1] for t, p in pairs.items()}
        closed = paired_difference_interval(a, b, clusters=clusters)
        boot = paired_difference_interval(a, b, clusters=clusters, resamples=20_000)
        assert boot == pytest.approx(closed, abs=0.1 * (closed[2] - closed[1]))


def test_seeded() -> None:
    a, b = {"t": [1, 1, 0, 1] * 50}, {"t": [1, 0, 1, 0] * 50}
    assert paired_difference(a, b, resamples=500) == paired_difference(a, b, resamples=500)
    other = paired_difference(a, b, resamples=500, rng=np.random.default_rng(9))
    assert other.low != paired_difference(a, b, resamples=500).low or other.standard_error != 0


def test_it_covers() -> None:
    rng = np.random.default_rng(7)
    truth, draws = 0.03, 7700
    hits = []
    for _ in range(draws):
        pairs = {t: run_pair(rng, n, 0.08 + truth / 2, 0.08 - truth / 2) for t, n in (("a", 300), ("b", 500))}
        a, b = {t: p[0] for t, p in pairs.items()}, {t: p[1] for t, p in pairs.items()}
        _, low, high = paired_difference_interval(a, b, resamples=500, rng=rng)
        hits.append(covers(low, high, truth))
    assert 0.94 <= share(hits) <= 0.96


def test_it_covers_with_clusters() -> None:
    rng = np.random.default_rng(8)
    truth, draws, size = 0.04, 7700, 8
    labels = np.repeat(np.arange(40), size)
    hits = []
    for _ in range(draws):
        local = rng.dirichlet(np.array([0.12, 0.08, 0.8]) * 4, size=40)[labels]
        u = rng.random(len(labels))
        a, b = {"t": u < local[:, 0]}, {"t": (u >= local[:, 0]) & (u < local[:, 0] + local[:, 1])}
        _, low, high = paired_difference_interval(a, b, resamples=500, rng=rng, clusters={"t": labels})
        hits.append(covers(low, high, truth))
    assert 0.94 <= share(hits) <= 0.96
