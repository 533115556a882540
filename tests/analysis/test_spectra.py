from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from fusion_bench.analysis import singular_spectra
from fusion_bench.analysis.spectra import effective_rank, energy_rank, stable_rank
from fusion_bench.errors import FusionBenchError
from tests.analysis.planted import MATRICES, moved, orthogonal, pool

VALUES = nps.arrays(np.float64, st.integers(1, 12), elements=st.floats(1e-6, 1e6)).map(lambda a: np.sort(a)[::-1])


def test_singular_values_are_those_of_numpy() -> None:
    base, experts = pool(dtype=torch.float16)
    found = singular_spectra(base, experts)
    assert found.shapes == MATRICES
    for name, shape in MATRICES.items():
        for row, expert in zip(found.values[name], found.names, strict=True):
            delta = (experts[expert][name].double() - base[name].double()).numpy().reshape(shape)
            assert row == pytest.approx(np.linalg.svd(delta, compute_uv=False), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_equal_singular_values_have_their_number_as_effective_and_stable_rank(rank: int) -> None:
    rng = np.random.default_rng(rank)
    base, _ = pool(1)
    delta = 0.7 * orthogonal(rng, 6, rank) @ orthogonal(rng, 8, rank).T
    found = singular_spectra(base, {"e": moved(base, "blocks.0.fc.weight", delta)})
    values = found.values["blocks.0.fc.weight"][0]
    assert values == pytest.approx([0.7] * rank + [0.0] * (6 - rank), abs=1e-14)
    assert found.effective_ranks()["blocks.0.fc.weight"] == pytest.approx([rank])
    assert found.stable_ranks()["blocks.0.fc.weight"] == pytest.approx([rank])
    assert found.effective_ranks()["blocks.1.fc.weight"].tolist() == [0.0]  # which it leaves as it is
    assert found.stable_ranks()["blocks.1.fc.weight"].tolist() == [0.0]


@given(VALUES)
def test_ranks_have_their_bounds_and_oracles(values: np.ndarray) -> None:
    entropy = scipy.stats.entropy(values)  # normalises, natural logarithm
    assert effective_rank(values) == pytest.approx(np.exp(entropy))
    assert stable_rank(values) == pytest.approx((np.linalg.norm(values) / values[0]) ** 2)
    for rank in (effective_rank(values), stable_rank(values)):
        assert 1 - 1e-9 <= rank <= len(values) + 1e-9


@given(VALUES, st.floats(1e-8, 1e8))
def test_ranks_do_not_change_with_scale(values: np.ndarray, factor: float) -> None:
    for rank in (effective_rank, stable_rank):
        assert rank(factor * values) == pytest.approx(rank(values))
    assert effective_rank(np.append(values, 0.0)) == pytest.approx(effective_rank(values))


@given(VALUES, st.floats(0.01, 1.0))
def test_the_energy_rank_is_the_smallest_that_holds_enough(values: np.ndarray, energy: float) -> None:
    k = energy_rank(values, energy)
    squares = values**2
    assert squares[:k].sum() >= energy * squares.sum() * (1 - 1e-9)
    assert k == 1 or squares[: k - 1].sum() < energy * squares.sum() * (1 + 1e-9)


def test_zero_and_wrong_energies() -> None:
    assert energy_rank(np.zeros(3), 0.5) == 0
    for energy in (0.0, 1.1, float("nan")):
        with pytest.raises(FusionBenchError, match="energy"):
            energy_rank(np.ones(2), energy)


def test_the_profile_of_one_matrix_is_its_spectrum_at_even_places() -> None:
    base = {"w": torch.zeros(5, 5, dtype=torch.float64)}
    values = [8.0, 4.0, 2.0, 1.0, 0.0]
    found = singular_spectra(base, {"e": {"w": torch.diag(torch.tensor(values).double())}, "still": base})
    at, profile = found.profile(points=9)
    assert at.tolist() == [i / 8 for i in range(9)]
    assert profile[0] == pytest.approx([1, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625, 0], abs=1e-15)
    assert not profile[1].any()


def test_the_profile_leaves_out_matrices_that_did_not_move() -> None:
    base = {"v": torch.zeros(2, 2), "w": torch.zeros(2, 2)}
    expert = {"v": torch.zeros(2, 2), "w": torch.diag(torch.tensor([2.0, 1.0]))}
    assert singular_spectra(base, [expert]).profile(2)[1].tolist() == [[1.0, 0.5]]


def test_no_matrix_is_refused() -> None:
    with pytest.raises(FusionBenchError, match="no tensor of the base is a matrix"):
        singular_spectra({"b": torch.zeros(3)}, [{"b": torch.ones(3)}])


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_progress_counts_matrices(seed: int) -> None:
    base, experts = pool(2, seed=seed)
    seen: list[tuple[int, int]] = []
    singular_spectra(base, experts, progress=lambda stage, done, total: seen.append((done, total)))
    assert seen == [(i, len(MATRICES)) for i in range(len(MATRICES))]
