"""Differences of two runs: intervals that cover, with few discordant examples and with clusters too."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import paired_difference, paired_difference_interval
from fusion_bench.metrics.paired import difference_limits
from fusion_bench.metrics.sign_flip import sign_flip_test
from fusion_bench.metrics.variance import Layout, clustered, critical, pooled_degrees
from tests.metrics.simulation import FAMILIES, SIZES, clustered_counts, covers, run_pair, share

DRAWS = 20_000
Z = float(critical(0.95))


def _runs(seed: int, gained: float, lost: float, sizes: np.ndarray = SIZES) -> tuple[dict, dict]:
    rng = np.random.default_rng(seed)
    pairs = {f"task{k}": run_pair(rng, int(n), gained, lost) for k, n in enumerate(sizes)}
    return {t: a for t, (a, _) in pairs.items()}, {t: b for t, (_, b) in pairs.items()}


@pytest.mark.parametrize(("churn", "difference"), [(0.2, 0.0), (0.2, 0.03), (0.05, 0.01), (0.01, 0.005), (0.01, 0.01)])
def test_the_closed_form_covers(churn: float, difference: float) -> None:
    rng = np.random.default_rng(0)
    p = [(churn + difference) / 2, (churn - difference) / 2, 1 - churn]
    counts = rng.multinomial(SIZES, p, size=(DRAWS, 8))
    gained, lost = counts[..., 0], counts[..., 1]
    low, high, error = difference_limits(gained - lost, gained + lost, SIZES, Z)
    assert 0.94 <= share(covers(low, high, difference)) <= 0.96
    assert np.median(error) == pytest.approx(((gained - lost) / SIZES).mean(axis=1).std(), rel=0.03)


def test_it_stays_on_the_safe_side_where_almost_nothing_differs() -> None:
    rng = np.random.default_rng(1)
    for churn in (1e-3, 3e-4, 1e-5):
        for difference in (0, churn):
            p = [(churn + difference) / 2, (churn - difference) / 2, 1 - churn]
            counts = rng.multinomial(SIZES, p, size=(DRAWS, 8))
            gained, lost = counts[..., 0], counts[..., 1]
            low, high, _ = difference_limits(gained - lost, gained + lost, SIZES, Z)
            assert share(covers(low, high, difference)) >= 0.94
            assert (high > low).all()


def test_one_task_against_bonett_and_price() -> None:
    # their formula: one discordant pair more in each direction; critical value 2 makes our c²/4 exactly one
    n, gained, lost = 200, 30, 12
    p12, p21 = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = 2 * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    low, high, _ = difference_limits(np.array([gained - lost]), np.array([gained + lost]), np.array([n]), 2.0)
    assert (low, high) == pytest.approx((p12 - p21 - half, p12 - p21 + half))


def test_runs_that_agree_everywhere() -> None:
    run = {"a": [1, 0] * 500, "b": [1, 1, 0, 0] * 250}
    found = paired_difference(run, run)
    assert found.difference == 0
    assert found.p_value == 1
    assert found.low == -found.high
    # two thousand examples without a difference: between one and four in two thousand are not excluded
    assert 1 / 2000 < found.high < 4 / 2000
    # twice the examples say twice as much
    twice = {task: np.tile(v, 2) for task, v in run.items()}
    assert paired_difference(twice, twice).high == pytest.approx(found.high / 2, rel=0.01)
    boot = paired_difference(run, run, resamples=5000)
    assert boot.low == pytest.approx(-boot.high, abs=1e-3)
    assert 1 / 2000 <= boot.high < 4 / 2000


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(1000)
    a, b = {"t": hard < 0.72}, {"t": hard < 0.70}
    found = paired_difference(a, b)
    apart = paired_difference(a, {"t": rng.permutation(b["t"])})
    assert found.low > 0
    assert found.high - found.low < (apart.high - apart.low) / 3
    assert found.difference == pytest.approx(a["t"].mean() - b["t"].mean())


@pytest.mark.parametrize("correlation", [0.03, 0.15])
def test_clusters_cover_and_the_naive_interval_does_not(correlation: float) -> None:
    rng = np.random.default_rng(2)
    p = [0.13, 0.09, 0.78]
    layouts = [FAMILIES, np.full(400, 3), np.tile([1, 1, 2, 5, 20], 42)]
    sums, squares, extra, variances, degrees, sizes = [], [], [], [], [], []
    for clusters in layouts:
        counts = clustered_counts(rng, DRAWS // 2, clusters, p, correlation)
        n, layout = clusters.sum(), Layout.of(clusters)
        difference = counts[..., 0] - counts[..., 1]
        total, square = difference.sum(axis=1), (counts[..., 0] + counts[..., 1]).sum(axis=1)
        centred = difference - clusters * (total / n)[:, None]
        around = square - total**2 / n
        variance, df = clustered(
            around, (centred**2 * layout.correction).sum(axis=1), (centred**2 / clusters).sum(axis=1), layout
        )
        for found, value in zip(
            (sums, squares, extra, variances, degrees, sizes),
            (total, square, variance - around / (n - 1) / n, variance, df, n),
            strict=True,
        ):
            found.append(value)
    s, q, n = np.stack(sums, -1), np.stack(squares, -1), np.array(sizes)
    c = critical(0.95, pooled_degrees(np.stack(variances, -1), np.stack(degrees, -1)))
    low, high, _ = difference_limits(s, q, n, c, extra=np.stack(extra, -1))
    assert 0.94 <= share(covers(low, high, 0.04)) <= 0.96
    naive = share(covers(*difference_limits(s, q, n, Z)[:2], 0.04))
    assert naive < (0.88 if correlation == 0.03 else 0.7)


def test_the_simulated_formula_is_the_functions() -> None:
    a, b = _runs(3, 0.1, 0.06)
    found = paired_difference(a, b, level=0.9)
    differences = {t: a[t].astype(int) - b[t] for t in a}
    sums, squares = (np.array([f(d) for d in differences.values()]) for f in (np.sum, lambda d: (d**2).sum()))
    low, high, error = difference_limits(sums, squares, SIZES, critical(0.9))
    assert (found.low, found.high, found.standard_error) == pytest.approx((low, high, error))
    assert found.difference == pytest.approx(np.mean([d.mean() for d in differences.values()]))
    assert found.per_task == pytest.approx({t: d.mean() for t, d in differences.items()})
    assert found.p_value == sign_flip_test(differences)
    assert paired_difference_interval(a, b, level=0.9) == (found.difference, found.low, found.high)


def test_interval_and_test_tell_the_same_story() -> None:
    # two methods for one question: they may differ near the border only
    for seed in range(60):
        a, b = _runs(seed, 0.055, 0.05, SIZES[:4])
        found = paired_difference(a, b)
        if not 0.04 < found.p_value < 0.06:
            assert (found.low <= 0 <= found.high) == (found.p_value > 0.05)


def test_clusters_reach_interval_and_p_value() -> None:
    a, b = _runs(4, 0.09, 0.06)
    labels = {"task4": np.repeat(np.arange(len(FAMILIES)), FAMILIES)}
    order = np.argsort(a["task4"].astype(int) - b["task4"].astype(int), kind="stable")
    a["task4"], b["task4"] = a["task4"][order], b["task4"][order]  # whole families change sides
    plain, grouped = paired_difference(a, b), paired_difference(a, b, clusters=labels)
    assert grouped.high - grouped.low > 1.2 * (plain.high - plain.low)
    assert grouped.p_value > plain.p_value
    boot = paired_difference(a, b, clusters=labels, resamples=4000)
    assert boot.high - boot.low > 1.2 * (plain.high - plain.low)


def test_scaled_outcomes_scale_the_interval() -> None:
    a, b = _runs(5, 0.08, 0.05)
    plain = paired_difference_interval(a, b)
    scaled = paired_difference_interval({t: 1.7 * v for t, v in a.items()}, {t: 1.7 * v for t, v in b.items()})
    assert scaled == pytest.approx([1.7 * x for x in plain])
    whole = paired_difference({t: 1.7 * v for t, v in a.items()}, {t: 1.7 * v for t, v in b.items()})
    assert (whole.difference, whole.low, whole.high) == pytest.approx(scaled)
    with pytest.raises(FusionBenchError, match="must be finite"):
        paired_difference({t: np.where(v == 1, np.inf, v) for t, v in a.items()}, b)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abc"), st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=25), min_size=1
    ),
    st.sampled_from([0.9, 0.99]),
    st.randoms(use_true_random=False),
)
def test_order_is_nothing_and_swapping_negates(pairs: dict, level: float, random: object) -> None:
    def split(pairs: dict) -> tuple[dict, dict]:
        return {t: [x for x, _ in v] for t, v in pairs.items()}, {t: [y for _, y in v] for t, v in pairs.items()}

    a, b = split(pairs)
    found, swapped = paired_difference(a, b, level=level), paired_difference(b, a, level=level)
    assert (found.difference, found.low, found.high) == pytest.approx(
        (-swapped.difference, -swapped.high, -swapped.low), abs=1e-12
    )
    assert found.p_value == pytest.approx(swapped.p_value)
    assert found.low < found.high
    assert 0 < found.p_value <= 1
    items = list(pairs.items())
    random.shuffle(items)
    mixed = paired_difference(*split({t: random.sample(v, len(v)) for t, v in items}), level=level)
    assert (mixed.low, mixed.high) == pytest.approx((found.low, found.high), abs=1e-12)
    assert mixed.p_value == pytest.approx(found.p_value)
    less, greater = (paired_difference(a, b, alternative=side).p_value for side in ("less", "greater"))
    assert less + greater >= 1 - 1e-9


def test_runs_that_cannot_be_paired() -> None:
    with pytest.raises(FusionBenchError, match="same tasks"):
        paired_difference({"a": [1, 0]}, {"b": [1, 0]})
    with pytest.raises(FusionBenchError, match="99 resamples"):
        paired_difference({"a": [1, 0]}, {"a": [1, 0]}, resamples=99)


def test_a_comparison_is_quick() -> None:
    sizes = np.full(8, 2000)
    a, b = _runs(6, 0.12, 0.1, sizes - np.arange(8))
    paired_difference(a, b)  # SciPy is imported
    times = []
    for _ in range(5):
        start = time.perf_counter()
        paired_difference_interval(a, b, resamples=2000)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1
