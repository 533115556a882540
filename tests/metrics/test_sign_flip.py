"""The sign-flip test: brute force agrees where it can, the grid where it cannot, and the level is held."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import permutation_test

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import sign_flip
from fusion_bench.metrics.mcnemar import mcnemar_p_values
from fusion_bench.metrics.sign_flip import sign_flip_test
from tests.metrics.simulation import FAMILIES, SIZES, at_most

SIDES = ("two-sided", "less", "greater")


def _difference(n: int, gained: int, lost: int) -> np.ndarray:
    return np.array([1] * gained + [-1] * lost + [0] * (n - gained - lost))


def _brute_force(units: list[float], alternative: str) -> float:
    observed = sum(units)
    sums = np.array(
        [
            sum(s * u for s, u in zip(signs, units, strict=True))
            for signs in itertools.product((1, -1), repeat=len(units))
        ]
    )
    tolerance = 1e-12
    if alternative == "two-sided":
        return float((np.abs(sums) >= abs(observed) - tolerance).mean())
    return float((sums >= observed - tolerance if alternative == "greater" else sums <= observed + tolerance).mean())


@pytest.mark.parametrize("alternative", SIDES)
def test_one_task_is_mcnemar(alternative: str) -> None:
    for gained, lost in ((0, 0), (3, 1), (0, 6), (40, 55), (300, 250)):
        found = sign_flip_test({"t": _difference(900, gained, lost)}, alternative=alternative)
        assert found == pytest.approx(float(mcnemar_p_values(gained, lost, alternative=alternative)))


@pytest.mark.parametrize("alternative", SIDES)
def test_equal_tasks_are_their_pooled_counts(alternative: str) -> None:
    tasks = {"a": _difference(50, 7, 2), "b": _difference(50, 1, 3), "c": _difference(50, 9, 0)}
    found = sign_flip_test(tasks, alternative=alternative)
    assert found == pytest.approx(float(mcnemar_p_values(17, 5, alternative=alternative)))


@pytest.mark.parametrize("alternative", SIDES)
@pytest.mark.parametrize("seed", range(6))
def test_unequal_tasks_against_all_signs(seed: int, alternative: str) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(6, 12, size=4)
    tasks = {str(k): rng.choice([-1, 0, 0, 1, 1], size=n) for k, n in enumerate(sizes)}
    units = [d / len(v) for v in tasks.values() for d in v if d][:16]
    trimmed, left = {}, 16
    for task, values in tasks.items():  # so few that all signs can be tried
        values = values.copy()
        beyond = np.flatnonzero(values)[left:]
        values[beyond] = 0
        left -= min(left, int((values != 0).sum()))
        trimmed[task] = values
    assert sign_flip_test(trimmed, alternative=alternative) == pytest.approx(_brute_force(units, alternative))


@pytest.mark.parametrize("alternative", SIDES)
def test_clusters_against_all_signs(alternative: str) -> None:
    rng = np.random.default_rng(7)
    tasks = {"a": rng.choice([-1, 0, 1, 1], size=40), "b": rng.choice([-1, 0, 1], size=30)}
    labels = {"a": rng.integers(7, size=40), "b": rng.integers(6, size=30)}
    units = [s / len(v) for t, v in tasks.items() for s in np.bincount(labels[t], v) if s]
    found = sign_flip_test(tasks, clusters=labels, alternative=alternative)
    assert found == pytest.approx(_brute_force(units, alternative))


def test_against_scipys_permutations() -> None:
    values = _difference(30, 9, 3)
    result = permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=2**12, rng=np.random.default_rng(0)
    )
    exact = permutation_test((values[values != 0],), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_test({"t": values}) == pytest.approx(exact.pvalue)
    assert sign_flip_test({"t": values}) == pytest.approx(result.pvalue, abs=0.03)


@pytest.mark.parametrize("discordant", [3, 8, 14])
def test_the_grid_against_the_exact_law(discordant: int) -> None:
    rng = np.random.default_rng(discordant)
    parts = [sign_flip._part(np.ones(rng.integers(2, discordant + 1), dtype=int), int(n)) for n in SIZES]
    deviation = math.sqrt(sum(float(p.probabilities @ p.values**2) for p in parts))
    for z in (-2.0, 0.0, 0.7, 1.5, 2.5, 3.5):
        exact = sign_flip._exact(*sign_flip._halves(parts), z * deviation)
        grid = sign_flip._on_grid(parts, z * deviation)
        assert exact <= grid * (1 + 1e-9)
        assert grid <= exact * 1.03


def test_the_grid_without_adding_parts_up(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [sign_flip._part(np.ones(12, dtype=int), int(n)) for n in SIZES]
    exact = sign_flip._exact(*sign_flip._halves(parts), 0.02)
    monkeypatch.setattr(sign_flip, "MERGED_SUMS", 0)
    assert exact <= sign_flip._on_grid(parts, 0.02) <= exact * 1.02


def test_the_grid_in_far_tails_and_with_clusters() -> None:
    # all coins fall alike: 2^-D, however small
    parts = [sign_flip._part(np.ones(25, dtype=int), int(n)) for n in SIZES]
    reach = sum(p.values[-1] for p in parts)
    assert sign_flip._on_grid(parts, reach) == pytest.approx(2.0**-200, rel=0.05)
    # clusters of very different sums, against the exact law of one size of tasks
    rng = np.random.default_rng(1)
    sums = rng.integers(1, 10, size=60)
    whole = sign_flip._part(sums, 1000)
    halves = [sign_flip._part(sums[:30], 1000), sign_flip._part(sums[30:], 1000)]
    for z in (0.5, 2.0, 4.0):
        observed = z * math.sqrt(float(whole.probabilities @ whole.values**2))
        exact = sign_flip._exact([whole], [], observed)
        assert exact * (1 - 1e-9) <= sign_flip._on_grid(halves, observed) <= exact * 1.03


def test_many_discordant_examples_are_nearly_normal() -> None:
    tasks = {str(n): _difference(int(n), 150, 125) for n in SIZES}
    observed = sum(25 / n for n in SIZES)
    deviation = math.sqrt(sum(275 / n**2 for n in SIZES))
    assert sign_flip_test(tasks, alternative="greater") == pytest.approx(ndtr(-observed / deviation), rel=0.03)
    assert sign_flip_test(tasks, alternative="less") == pytest.approx(ndtr(observed / deviation), rel=0.01)


def test_never_zero() -> None:
    tasks = {str(n): _difference(int(n), 1000, 0) for n in SIZES}
    assert 0 < sign_flip_test(tasks) < 1e-300


@pytest.mark.parametrize(
    ("churn", "sizes"), [(0.003, SIZES), (0.05, SIZES[:4] // 5), (0.1, np.array([100, 100, 130, 170]))]
)
def test_the_level_is_held(churn: float, sizes: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    p_values: dict[str, list[float]] = {"two-sided": [], "less": []}
    for _ in range(2500):
        discordant = rng.binomial(sizes, churn)
        gained = rng.binomial(discordant, 0.5)
        tasks = {
            str(k): _difference(*map(int, counts))
            for k, counts in enumerate(zip(sizes, gained, discordant - gained, strict=True))
        }
        for side, found in p_values.items():
            found.append(sign_flip_test(tasks, alternative=side))
    for found in p_values.values():
        for level in (0.01, 0.05, 0.2):
            rejected = np.array(found) <= level
            assert at_most(rejected, level)
            # unequal sizes leave hardly any steps to waste level on
            assert rejected.mean() > 0.6 * level


def test_the_level_is_held_with_clusters_and_not_without() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(len(FAMILIES)), FAMILIES)
    p_values, naive = [], []
    for _ in range(1500):
        lean = rng.beta(3, 3, size=len(FAMILIES))[labels]
        u = rng.random(len(labels))
        values = (rng.random(len(labels)) < 0.1) * np.where(u < lean, 1, -1)
        p_values.append(sign_flip_test({"t": values}, clusters={"t": labels}))
        naive.append(sign_flip_test({"t": values}))
    assert at_most(np.array(p_values) <= 0.05, 0.05)
    assert np.mean(np.array(p_values) <= 0.05) > 0.03
    assert np.mean(np.array(naive) <= 0.05) > 0.08


def test_scores_have_the_normal_law_of_the_coins() -> None:
    rng = np.random.default_rng(7)
    values = {"t": rng.normal(0.05, 1, size=400), "u": rng.normal(0, 2, size=300)}
    coins = {task: rng.choice((-1.0, 1.0), size=(40_000, len(own))) for task, own in values.items()}
    drawn = sum(coins[task] @ own / len(own) for task, own in values.items())
    observed = sum(own.mean() for own in values.values())
    for alternative, share in (("greater", (drawn >= observed)), ("two-sided", np.abs(drawn) >= abs(observed))):
        assert sign_flip_test(values, alternative=alternative) == pytest.approx(share.mean(), abs=0.01)
    labels = np.repeat(np.arange(100), 4)
    together = sign_flip_test({"t": np.repeat(values["t"][:100], 4)}, clusters={"t": labels})
    assert together == pytest.approx(sign_flip_test({"t": values["t"][:100]}), rel=1e-9)  # four alike are one


def test_bad_input() -> None:
    with pytest.raises(FusionBenchError, match="alternative"):
        sign_flip_test({"t": [1, 0]}, alternative="both")


def test_few_scores_have_the_exact_law() -> None:
    assert sign_flip_test({"t": [-0.5, -0.5, -0.5]}, alternative="less") == pytest.approx(1 / 8)
    assert sign_flip_test({"t": [0.25] * 4}) == pytest.approx(2 / 16)
    assert sign_flip_test({"t": [0.5, -0.5, 0.5, -0.5]}, clusters={"t": [0, 0, 1, 1]}) == 1.0  # no source differs


def test_a_task_of_scores_leaves_the_others_their_exact_law() -> None:
    assert sign_flip_test({"t": [1, 1, 1, 1, 1, 0], "u": [1e-9, 0.0]}) == pytest.approx(2 / 2**6)
    rng = np.random.default_rng(1)
    values = {"t": rng.choice((-1.0, 0.0, 1.0), 50), "u": rng.normal(0.2, 1, 60)}
    drawn = sum(rng.choice((-1.0, 1.0), (60_000, len(own))) @ own / len(own) for own in values.values())
    observed = sum(own.mean() for own in values.values())
    assert sign_flip_test(values) == pytest.approx(np.mean(np.abs(drawn) >= abs(observed)), abs=0.008)
