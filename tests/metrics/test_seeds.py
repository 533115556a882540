"""Several seeds: intervals cover seeds and examples together, and one without the seeds does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import mean_accuracy_interval, paired_difference
from fusion_bench.metrics.seeds import seeded_difference, seeded_mean
from tests.metrics.simulation import at_most, covers, share

TASKS = ("a", "b")


class Methods:
    """Runs of methods: an example is right where skill + seed + example + noise is positive, all normal."""

    def __init__(self, rng: np.random.Generator, n: int, seed: float, example: float = 1.0, noise: float = 0.6) -> None:
        self.rng, self.n, self.seed, self.noise = rng, n, seed, noise
        self.deviation = float(np.sqrt(seed**2 + example**2 + noise**2))
        self.examples = {t: example * rng.standard_normal(n) for t in TASKS}

    def runs(self, skill: float, seeds: int) -> list[dict[str, np.ndarray]]:
        return [self._run(skill + self.seed * self.rng.standard_normal()) for _ in range(seeds)]

    def _run(self, skill: float) -> dict[str, np.ndarray]:
        return {t: skill + b + self.noise * self.rng.standard_normal(self.n) > 0 for t, b in self.examples.items()}

    def accuracy(self, skill: float) -> float:
        return float(ndtr(skill / self.deviation))


@pytest.mark.parametrize(("seeds", "deviation"), [(3, 0.15), (5, 0.08), (8, 0.07)])
def test_the_mean_covers(seeds: int, deviation: float) -> None:
    rng = np.random.default_rng(0)
    hits, naive = [], []
    for _ in range(7700):
        methods = Methods(rng, 120, deviation)
        runs = methods.runs(0.8, seeds)
        found = seeded_mean(runs)
        hits.append(covers(found.low, found.high, methods.accuracy(0.8)))
        naive.append(covers(*mean_accuracy_interval(runs[0]), methods.accuracy(0.8)))
    assert 0.94 <= share(hits) <= 0.96
    # the first seed's examples alone do not tell how far the seed itself lies off
    assert share(naive) < 0.92


def test_large_seed_effects_and_two_seeds() -> None:
    rng = np.random.default_rng(1)
    for seeds, deviation, most in ((3, 0.5, 0.96), (2, 0.2, 1.0), (4, 0.0, 0.975)):
        hits = []
        for _ in range(2500):
            methods = Methods(rng, 150, deviation)
            found = seeded_mean(methods.runs(0.5, seeds))
            hits.append(covers(found.low, found.high, methods.accuracy(0.5)))
        assert 0.935 <= np.mean(hits) <= most


def test_the_difference_covers_and_its_test_holds_its_level() -> None:
    rng = np.random.default_rng(2)
    hits, rejected, single = [], [], []
    for _ in range(2500):
        methods = Methods(rng, 150, 0.1)
        first, second = methods.runs(0.6, 4), methods.runs(0.6, 3)
        found = seeded_difference(first, second)
        hits.append(covers(found.low, found.high, 0.0))
        rejected.append(found.p_value <= 0.05)
        single.append(paired_difference(first[0], second[0]).p_value <= 0.05)
    assert 0.94 <= np.mean(hits) <= 0.97
    assert at_most(rejected, 0.05)
    # one seed each: "significant" mostly means that one was lucky
    assert np.mean(single) > 0.12


def test_a_method_without_chance_against_one_with() -> None:
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(2500):
        methods = Methods(rng, 150, 0.15)
        fixed = {t: b > -0.4 for t, b in methods.examples.items()}
        found = seeded_difference(methods.runs(0.6, 5), fixed)
        hits.append(covers(found.low, found.high, methods.accuracy(0.6) - float(ndtr(0.4))))
    assert 0.94 <= np.mean(hits) <= 0.97


def test_the_seed_deviation_is_found() -> None:
    rng = np.random.default_rng(4)
    squares = [seeded_mean(Methods(rng, 200, 0.2).runs(0.0, 6)).seed_deviation ** 2 for _ in range(800)]
    density = 1 / np.sqrt(2 * np.pi * (0.2**2 + 1 + 0.6**2))
    assert np.sqrt(np.mean(squares)) == pytest.approx(0.2 * density, rel=0.06)


def test_seeds_that_do_nothing_are_a_single_run() -> None:
    rng = np.random.default_rng(5)
    run = {"a": rng.random(300) < 0.9, "b": rng.random(500) < 0.6}
    found = seeded_mean([run] * 4)
    assert (found.low, found.high) == pytest.approx(mean_accuracy_interval(run), abs=1e-4)
    assert found.seed_deviation == 0
    other = {t: v ^ (rng.random(len(v)) < 0.1) for t, v in run.items()}
    plain, seeded = paired_difference(run, other), seeded_difference([run] * 3, other)
    assert (seeded.difference, seeded.low, seeded.high) == pytest.approx((plain.difference, plain.low, plain.high))
    assert seeded.p_value == pytest.approx(plain.p_value, rel=0.3)


def test_swapping_negates_and_order_is_nothing() -> None:
    methods = Methods(np.random.default_rng(6), 120, 0.2)
    first, second = methods.runs(0.7, 4), methods.runs(0.5, 3)
    found, swapped = seeded_difference(first, second), seeded_difference(second, first)
    assert (found.low, found.high) == pytest.approx((-swapped.high, -swapped.low))
    assert found.p_value == pytest.approx(swapped.p_value)
    assert found.seed_deviations == swapped.seed_deviations[::-1]
    mixed = seeded_difference(first[::-1], [dict(reversed(run.items())) for run in second])
    assert (mixed.low, mixed.high, mixed.p_value) == pytest.approx((found.low, found.high, found.p_value))


def test_the_interval_excludes_zero_where_the_test_rejects() -> None:
    rng = np.random.default_rng(7)
    for _ in range(100):
        methods = Methods(rng, 150, 0.1)
        found = seeded_difference(methods.runs(0.75, 4), methods.runs(0.6, 4))
        if not 0.045 < found.p_value < 0.055:
            assert (found.low <= 0 <= found.high) == (found.p_value > 0.05)


def test_never_certain() -> None:
    perfect = {"t": np.ones(200)}
    found = seeded_mean([perfect] * 3)
    assert found.low < 1 == found.high
    same = seeded_difference([perfect] * 3, [perfect] * 3)
    assert same.low < 0 < same.high
    assert same.p_value == pytest.approx(1)


def test_clusters_widen() -> None:
    rng = np.random.default_rng(8)
    labels = np.repeat(np.arange(15), 20)
    easy = rng.normal(size=15)[labels]
    runs = [{"t": easy + rng.normal(size=300) > 0} for _ in range(4)]
    plain, grouped = seeded_mean(runs), seeded_mean(runs, clusters={"t": labels})
    assert grouped.high - grouped.low > 1.5 * (plain.high - plain.low)


def test_one_seed_says_nothing_of_seeds() -> None:
    run = {"t": [1, 0, 1]}
    with pytest.raises(FusionBenchError, match="the method has 1 seed"):
        seeded_mean([run])
    with pytest.raises(FusionBenchError, match="not in a list"):
        seeded_difference(run, [run])
    with pytest.raises(FusionBenchError, match="seed 2 of the method"):
        seeded_mean([run, {"t": [1, 0, float("inf")]}])
    with pytest.raises(FusionBenchError, match="seed 2 of the first method"):
        seeded_difference([run, {"t": [1, 0]}], run)
