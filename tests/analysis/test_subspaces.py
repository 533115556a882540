from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_bench.analysis import subspace_alignment, subspace_overlap
from fusion_bench.errors import FusionBenchError

M, N = 9, 7


def with_delta(delta: np.ndarray) -> dict:
    return {"w": torch.from_numpy(delta)}


BASE = with_delta(np.zeros((M, N)))


def random_delta(rng: np.random.Generator, rank: int = N) -> np.ndarray:
    return rng.standard_normal((M, rank)) @ rng.standard_normal((rank, N))


def leading(delta: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    u, _, vt = np.linalg.svd(delta)
    return u[:, :k], vt[:k].T


@given(st.integers(0, 10**6), st.integers(1, N))
@settings(max_examples=40, deadline=None)
def test_overlap_is_the_mean_squared_cosine_of_the_principal_angles(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = random_delta(rng), random_delta(rng)
    found = subspace_overlap(BASE, [with_delta(one), with_delta(other)], rank=k)
    for side, matrix in enumerate((found.left["w"], found.right["w"])):
        angles = scipy.linalg.subspace_angles(leading(one, k)[side], leading(other, k)[side])
        assert matrix[0, 1] == matrix[1, 0] == pytest.approx(np.mean(np.cos(angles) ** 2))
        assert np.diag(matrix) == pytest.approx([1, 1])
    assert found.ranks["w"].tolist() == [k, k]
    assert found.left_chance["w"] == pytest.approx(np.full((2, 2), k / M))
    assert found.right_chance["w"] == pytest.approx(np.full((2, 2), k / N))


@given(st.integers(0, 10**6), st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_scaling_changes_neither(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    deltas = [random_delta(rng) for _ in range(3)]
    experts = [with_delta(d) for d in deltas]
    scaled = [with_delta(-factor * deltas[0]), *experts[1:]]
    one, other = subspace_overlap(BASE, experts), subspace_overlap(BASE, scaled)
    assert other.left["w"] == pytest.approx(one.left["w"])
    assert other.right["w"] == pytest.approx(one.right["w"])
    before, after = subspace_alignment(BASE, experts), subspace_alignment(BASE, scaled)
    assert after.pairs["w"] == pytest.approx(before.pairs["w"])


def test_the_same_orthogonal_and_contained_subspaces() -> None:
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.standard_normal((size, size)))[0] for size in (M, N))
    first = u[:, :2] @ v[:, :2].T
    mixed = u[:, :2] @ np.array([[0.6, 0.8], [-0.8, 0.6]]) @ v[:, :2].T  # other vectors of the same subspaces
    apart = u[:, 2:4] @ v[:, 2:4].T
    wider = u[:, :4] @ v[:, :4].T
    experts = {"a": with_delta(first), "b": with_delta(2 * mixed), "c": with_delta(apart), "d": with_delta(wider)}
    for found in (subspace_overlap(BASE, experts, energy=0.99), subspace_overlap(BASE, experts, rank=4)):
        assert found.ranks["w"].tolist() == [2, 2, 2, 4]  # none invents directions that it has not
        for matrix in (found.left["w"], found.right["w"]):
            assert matrix[0] == pytest.approx([1, 1, 0, 1], abs=1e-12)
            assert matrix[2] == pytest.approx([0, 0, 1, 1], abs=1e-12)
        assert found.left_chance["w"][0] == pytest.approx([2 / M, 2 / M, 2 / M, 4 / M])
    aligned = subspace_alignment(BASE, experts)
    assert aligned.pairs["w"][0] == pytest.approx([1, 1, 0, 1], abs=1e-12)
    assert aligned.pairs["w"][3] == pytest.approx(np.sqrt([0.5, 0.5, 0.5, 1]))
    assert aligned.merged["w"] == pytest.approx([1, 1, 1, 1])


@pytest.mark.parametrize("k", [1, 3])
def test_random_subspaces_overlap_by_chance(k: int) -> None:
    rng = np.random.default_rng(k)
    draws = [
        subspace_overlap(BASE, [with_delta(random_delta(rng)), with_delta(random_delta(rng))], rank=k)
        for _ in range(300)
    ]
    for side in ("left", "right"):
        values = np.array([getattr(found, side)["w"][0, 1] for found in draws])
        expected = getattr(draws[0], f"{side}_chance")["w"][0, 1]
        assert values.mean() == pytest.approx(expected, abs=4 * values.std() / np.sqrt(len(values)))


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.3, 0.9]))
@settings(max_examples=40, deadline=None)
def test_alignment_is_the_projection_of_the_paper(seed: int, epsilon: float) -> None:
    rng = np.random.default_rng(seed)
    deltas = [random_delta(rng, rank) for rank in (2, 4, 7)]
    found = subspace_alignment(BASE, [with_delta(d) for d in deltas], epsilon=epsilon)
    for column, target in enumerate([*deltas, sum(deltas)]):
        u = np.linalg.svd(target)[0]
        for k in range(1, M + 1):  # equation 6, as it stands
            projector = u[:, :k] @ u[:, :k].T
            rest = np.linalg.norm(target - projector @ target)
            if rest <= epsilon * np.linalg.norm(target) + 1e-12 * np.linalg.norm(target):
                break
        assert found.ranks["w"][column] == k
        for row, delta in enumerate(deltas):
            got = found.merged["w"][row] if column == 3 else found.pairs["w"][row, column]
            assert got == pytest.approx(np.linalg.norm(projector @ delta) / np.linalg.norm(delta))
    assert found.merged_chance["w"] == pytest.approx(np.full(3, np.sqrt(found.ranks["w"][3] / M)))


def test_what_does_not_move_has_zeros_everywhere() -> None:
    experts = {"still": BASE, "moves": with_delta(random_delta(np.random.default_rng(0)))}
    found = subspace_overlap(BASE, experts)
    still = found.names.index("still")
    for table in (found.left, found.right, found.left_chance, found.right_chance):
        assert not table["w"][still].any()
        assert not table["w"][:, still].any()
    aligned = subspace_alignment(BASE, experts)
    assert not aligned.pairs["w"][still].any()
    assert not aligned.pairs["w"][:, still].any()
    assert aligned.merged["w"][still] == 0
    assert np.isfinite(aligned.pairs["w"]).all()
    nothing = subspace_alignment(BASE, [BASE, BASE])
    assert not nothing.merged["w"].any()


def test_options_out_of_range() -> None:
    experts = [with_delta(np.ones((M, N)))]
    with pytest.raises(FusionBenchError, match="rank = 0"):
        subspace_overlap(BASE, experts, rank=0)
    with pytest.raises(FusionBenchError, match="energy = 2"):
        subspace_overlap(BASE, experts, energy=2)
    for epsilon in (-0.1, 1.0):
        with pytest.raises(FusionBenchError, match="epsilon"):
            subspace_alignment(BASE, experts, epsilon=epsilon)
