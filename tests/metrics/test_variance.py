"""Variances of means of clustered examples, against statsmodels, against dense matrices and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from fusion_bench.metrics.outcomes import groupings
from fusion_bench.metrics.variance import Layout, critical, design_effect, pooled_degrees, spread, tail
from tests.metrics.simulation import FAMILIES, clustered_counts


def _spread(values: np.ndarray, clusters: np.ndarray) -> object:
    return spread(values, groupings({"t": clusters}, {"t": len(values)})["t"])


def test_equal_clusters_against_statsmodels() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(20), 15)
    values = (rng.random(300) < np.repeat(rng.beta(2, 2, size=20), 15)).astype(float)
    order = rng.permutation(300)
    found = _spread(values[order], clusters[order])
    fit = sm.OLS(values, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    assert found.variance == pytest.approx(fit.bse[0] ** 2, rel=1e-12)
    assert found.mean == pytest.approx(fit.params[0])
    # clusters all alike and of one size: as many degrees of freedom as means of clusters have
    assert found.df == pytest.approx(19)


@pytest.mark.parametrize("rho", [0.0, 0.07, 1.0])
def test_degrees_of_freedom_against_dense_matrices(rho: float) -> None:
    m = FAMILIES.astype(float)
    n, groups = m.sum(), len(m)
    h = m / n
    deviations = np.eye(groups) - np.outer(h, np.ones(groups))
    covariance = deviations @ np.diag(m * (1 + (m - 1) * rho)) @ deviations.T
    weighted = np.diag(1 / (1 - h)) @ covariance
    expected = np.trace(weighted) ** 2 / np.trace(weighted @ weighted)
    assert Layout.of(FAMILIES).degrees(rho) == pytest.approx(expected)


def test_singletons_are_independent_examples() -> None:
    values = np.random.default_rng(1).random(50).round()
    found, plain = _spread(values, np.arange(50)), spread(values)
    assert found.variance == pytest.approx(plain.variance)
    assert found.df == pytest.approx(49)
    assert plain.variance == pytest.approx(values.var(ddof=1) / 50)


def test_unbiased_where_examples_are_independent() -> None:
    rng = np.random.default_rng(2)
    counts = clustered_counts(rng, 20_000, FAMILIES, [0.7, 0.3], 0.0)[..., 0]
    n = FAMILIES.sum()
    mean = counts.sum(axis=1) / n
    errors = counts - FAMILIES * mean[:, None]
    estimate = (errors**2 * Layout.of(FAMILIES).correction).sum(axis=1) / n**2
    assert estimate.mean() == pytest.approx(0.7 * 0.3 / n, rel=0.02)


def test_never_less_than_independent_examples() -> None:
    # both halves have the same mean: the clusters' means do not differ at all
    clusters, values = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([1.0, 0, 1, 0, 0, 1, 0, 1])
    assert _spread(values, clusters).variance == pytest.approx(values.var(ddof=1) / 8)
    assert design_effect(values, clusters) == 1.0
    assert design_effect(np.ones(8), clusters) == 1.0


def test_copies_of_each_example_count_once() -> None:
    values = np.array([1.0, 1, 0, 1, 0, 0, 1, 1, 0, 1])
    copies = np.repeat(values, 7)
    found = _spread(copies, np.repeat(np.arange(10), 7))
    assert found.variance == pytest.approx(values.var(ddof=1) / 10)
    assert found.df == pytest.approx(9)


def test_pooled_degrees_against_welch() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=12), rng.normal(scale=3, size=7)
    result = stats.ttest_ind(a, b, equal_var=False)
    assert pooled_degrees([a.var(ddof=1) / 12, b.var(ddof=1) / 7], [11, 6]) == pytest.approx(result.df)
    assert pooled_degrees([1.0, 2.0], [np.inf, np.inf]) == np.inf
    assert pooled_degrees([0.0, 0.0], [5.0, np.inf]) == np.inf


@pytest.mark.parametrize("df", [1.0, 7.0, 1368.0, np.inf])
def test_critical_values_against_scipy(df: float) -> None:
    law = stats.norm if np.isinf(df) else stats.t(df)
    assert critical(0.99, df) == pytest.approx(law.ppf(0.995))
    assert tail(2.5, df) == pytest.approx(law.sf(2.5))
