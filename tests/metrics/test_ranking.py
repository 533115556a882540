"""Ranking: equal runs stay together, better ones come apart, and ranks are ranges that hold the truth."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.multiplicity import holm
from fusion_bench.metrics.outcomes import groupings
from fusion_bench.metrics.paired import paired_difference
from fusion_bench.metrics.ranking import pair_p_values, rank_runs
from fusion_bench.metrics.seeds import seeded_difference
from fusion_bench.metrics.variance import pooled_degrees, spread, tail
from tests.metrics.simulation import FAMILIES, SIZES, at_most


def _runs(rng: np.random.Generator, accuracies: list[float], sizes: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Runs that mostly find the same examples hard."""
    hard = {str(k): rng.random(n) for k, n in enumerate(sizes)}
    return {
        f"run{r}": {t: 0.8 * h + 0.2 * rng.random(len(h)) < p for t, h in hard.items()}
        for r, p in enumerate(accuracies)
    }


@pytest.mark.parametrize("clustered", [False, True])
def test_pairs_one_by_one_say_the_same(clustered: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([300, 411, 150])
    runs = _runs(rng, [0.6, 0.62, 0.7, 0.5], sizes)
    labels = {"0": rng.integers(20, size=300), "2": rng.integers(9, size=150)} if clustered else None
    groups = groupings(labels, {str(k): int(n) for k, n in enumerate(sizes)})
    stacked = [(np.stack([runs[r][t] for r in runs]).astype(float), groups[t]) for t in groups]
    found = pair_p_values(stacked, 3)
    names = list(runs)
    for i, j in ((0, 1), (0, 2), (3, 1)):
        parts = [spread(runs[names[i]][t].astype(float) - runs[names[j]][t], groups[t]) for t in groups]
        error = np.sqrt(sum(s.variance for s in parts) + sum(2 / (3 * s.n**2) for s in parts))
        statistic = abs(sum(s.mean for s in parts)) / error
        df = pooled_degrees([s.variance for s in parts], [s.df for s in parts])
        assert found[i, j] == found[j, i] == pytest.approx(2 * float(tail(statistic, df)))


def test_p_values_agree_with_the_exact_test() -> None:
    rng = np.random.default_rng(1)
    runs = _runs(rng, [0.6, 0.604, 0.61, 0.6, 0.615], SIZES)
    found = rank_runs(runs)
    pairs = {
        (a, b): paired_difference(runs[a], runs[b]).p_value
        for i, a in enumerate(found.names)
        for b in found.names[i + 1 :]
    }
    exact = holm(pairs)
    for (a, b), p_value in exact.items():
        i, j = found.names.index(a), found.names.index(b)
        assert found.p_values[i, j] == pytest.approx(p_value, rel=0.15, abs=1e-6)


def test_equal_runs_are_separated_in_one_draw_of_twenty_at_most() -> None:
    rng = np.random.default_rng(2)
    separated = [len(rank_runs(_runs(rng, [0.7] * 6, np.array([200, 250]))).groups) > 1 for _ in range(2000)]
    assert at_most(separated, 0.05)
    assert np.mean(separated) > 0.02


def test_equal_runs_that_hardly_differ() -> None:
    # a handful of discordant examples a pair: the normal law is no law here, and must not find anything
    rng = np.random.default_rng(3)
    separated = []
    for _ in range(2000):
        base = rng.random((1, 400)) < 0.8
        flips = rng.random((6, 400)) < 0.004
        outcomes = np.where(flips, rng.random((6, 400)) < 0.5, base)
        separated.append(len(rank_runs({str(r): {"t": v} for r, v in enumerate(outcomes)}).groups) > 1)
    assert at_most(separated, 0.05)


def test_equal_runs_with_clusters() -> None:
    # each run has families of its own that it likes: independent examples would separate runs that are equal
    rng = np.random.default_rng(4)
    labels = {"t": np.repeat(np.arange(len(FAMILIES)), FAMILIES // 4 + 1)}
    separated, naive = [], []
    for _ in range(800):
        liking = rng.normal(scale=0.12, size=(5, len(FAMILIES)))
        runs = {
            str(r): {"t": rng.random(len(labels["t"])) < 0.7 + liking[r][labels["t"]].clip(-0.3, 0.3)} for r in range(5)
        }
        separated.append(len(rank_runs(runs, clusters=labels).groups) > 1)
        naive.append(len(rank_runs(runs).groups) > 1)
    assert at_most(separated, 0.05)
    assert np.mean(naive) > 0.12


def test_better_runs_are_separated_and_true_ranks_are_in_range() -> None:
    rng = np.random.default_rng(5)
    accuracies = [0.6, 0.6, 0.66, 0.72, 0.72]
    ranks = {"run0": 4, "run1": 4, "run2": 3, "run3": 1, "run4": 1}
    all_inside, apart = [], []
    for _ in range(400):
        found = rank_runs(_runs(rng, accuracies, SIZES[:4]))
        all_inside.append(all(found.rank_ranges[n][0] <= r <= found.rank_ranges[n][1] for n, r in ranks.items()))
        apart.append(found.rank_ranges["run2"] == (3, 3))
    assert at_most(~np.array(all_inside), 0.05)
    assert np.mean(apart) > 0.95


def test_what_a_ranking_says() -> None:
    rng = np.random.default_rng(6)
    found = rank_runs(_runs(rng, [0.5, 0.7, 0.7, 0.9], SIZES))
    assert found.names[0] == "run3"
    assert found.names[-1] == "run0"
    assert list(found.means) == sorted(found.means, reverse=True)
    assert found.groups == (("run3",), tuple(found.names[1:3]), ("run0",))
    assert [found.letters[n] for n in found.names] == ["a", "b", "b", "c"]
    assert found.rank_ranges == {"run3": (1, 1), "run1": (2, 3), "run2": (2, 3), "run0": (4, 4)}
    assert found.better == (3, 1, 1, 0)
    assert found.worse == (0, 1, 1, 3)


def test_copies_and_single_runs() -> None:
    run = {"t": [1, 0, 1, 1]}
    found = rank_runs({"b": run, "a": run})
    assert found.names == ("a", "b")
    assert (found.p_values == 1).all()
    assert found.groups == (("a", "b"),)
    assert rank_runs({"only": run}).rank_ranges == {"only": (1, 1)}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_changes_nothing(seed: int, random: object) -> None:
    rng = np.random.default_rng(seed)
    runs = _runs(rng, list(rng.uniform(0.4, 0.9, size=5)), np.array([40, 60]))
    found = rank_runs(runs)
    names = list(runs)
    random.shuffle(names)
    orders = {t: rng.permutation(len(v)) for t, v in runs["run0"].items()}
    mixed = rank_runs({n: {t: runs[n][t][orders[t]] for t in ("1", "0")} for n in names})
    assert mixed.names == found.names
    assert mixed.p_values == pytest.approx(found.p_values)
    assert mixed.rank_ranges == found.rank_ranges


def test_bad_runs_are_named() -> None:
    with pytest.raises(FusionBenchError, match="no runs"):
        rank_runs({})
    with pytest.raises(FusionBenchError, match="2 examples of a and 3 of b"):
        rank_runs({"a": {"t": [1, 0]}, "b": {"t": [1, 0, 1]}})
    with pytest.raises(FusionBenchError, match="task t of b"):
        rank_runs({"a": {"t": [1, 0]}, "b": {"t": [1, float("nan")]}})


def test_sixty_runs_in_a_second() -> None:
    rng = np.random.default_rng(7)
    runs = _runs(rng, list(np.linspace(0.6, 0.7, 60)), np.full(8, 2000) - np.arange(8))
    labels = {"0": rng.integers(26, size=2000), "1": rng.integers(473, size=1999)}
    times = []
    for _ in range(3):
        start = time.perf_counter()
        rank_runs(runs, clusters=labels)
        times.append(time.perf_counter() - start)
    assert min(times) < 1


def test_methods_with_seeds_are_ranked_as_their_difference_says() -> None:
    rng = np.random.default_rng(5)
    base = {t: rng.random(300) for t in ("a", "b")}

    def run(skill: float) -> dict[str, np.ndarray]:
        return {t: values + 0.1 * rng.standard_normal(300) < skill for t, values in base.items()}

    runs = {"x": [run(0.6) for _ in range(3)], "y": [run(0.605) for _ in range(4)], "low": run(0.3), "high": run(0.9)}
    clusters = {"a": np.arange(300) // 5}
    found = rank_runs(runs, clusters=clusters)
    assert found.means[found.names.index("x")] == pytest.approx(
        np.mean([[v.mean() for v in each.values()] for each in runs["x"]])
    )
    raw = {
        (first, second): seeded_difference(runs[first], runs[second], clusters=clusters).p_value
        for first, second in (("y", "x"), ("high", "x"), ("x", "low"))
    }
    order = list(found.names)
    corrected = {pair: found.p_values[order.index(pair[0]), order.index(pair[1])] for pair in raw}
    assert corrected["y", "x"] == pytest.approx(raw["y", "x"])  # the largest of six is not multiplied
    assert all(raw[pair] <= corrected[pair] <= 6 * raw[pair] for pair in raw)
    for first, second in raw:
        apart = not set(found.letters[first]) & set(found.letters[second])
        assert apart == (corrected[first, second] <= 0.05)


def test_one_lucky_seed_separates_nothing_that_the_seeds_do_not() -> None:
    """Equal methods of which one has a large spread between seeds: told apart in at most 5 of 100 draws."""
    rng = np.random.default_rng(6)
    separated, luckiest = [], []
    for _ in range(400):
        base = rng.random(200)
        skills = 0.6 + 0.06 * rng.standard_normal(3)
        seeds = [{"t": base + 0.1 * rng.standard_normal(200) < skill} for skill in skills]
        other = {"t": base + 0.1 * rng.standard_normal(200) < 0.6}
        separated.append(len(rank_runs({"seeds": seeds, "other": other}).groups) > 1)
        luckiest.append(len(rank_runs({"seeds": seeds[int(np.argmax(skills))], "other": other}).groups) > 1)
    assert np.mean(separated) < 0.07
    assert np.mean(luckiest) > 0.2
