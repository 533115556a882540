"""Singular vectors and polar factors against NumPy and SciPy, also where they are badly conditioned."""

import numpy as np
import pytest
import scipy.linalg
import torch

from fusion_bench.weights import lapack, spectral
from fusion_bench.weights import polar as polar_module
from fusion_bench.weights.checkpoint import Span, StateCheckpoint
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.polar import polar
from fusion_bench.weights.spectral import TaskMatrices, leading_singular_vectors, matrix_shape


@pytest.fixture(params=["by memory to spare", "in little memory"], autouse=True)
def _size(request, monkeypatch):
    """Everything twice: as matrices of this size are worked on, and as large ones are."""
    if request.param == "in little memory":
        for module in (lapack, polar_module, spectral):
            monkeypatch.setattr(module, "LARGE", 1)


def matrix(m, n, values=None, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((m, n))
    if values is not None:
        u, _, vt = np.linalg.svd(a, full_matrices=False)
        a = (u[:, : len(values)] * values) @ vt[: len(values)]
    return torch.from_numpy(a)


SHAPES = [(6, 6), (5, 9), (9, 5), (2, 30), (1, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_leading_part_is_the_best_low_rank_approximation(shape, rank):
    a = matrix(*shape)
    u, s, v = leading_singular_vectors(a, rank)
    k = min(rank, *shape)
    nu, ns, nvt = np.linalg.svd(a.numpy(), full_matrices=False)
    assert s.shape == (k,)
    np.testing.assert_allclose(s, ns[:k], rtol=1e-10)
    np.testing.assert_allclose((u * s) @ v.T, (nu[:, :k] * ns[:k]) @ nvt[:k], atol=1e-10)
    np.testing.assert_allclose(u.T @ u, np.eye(k), atol=1e-8)
    np.testing.assert_allclose(v.T @ v, np.eye(k), atol=1e-8)


@pytest.mark.parametrize("smallest", [1e-3, 1e-6, 1e-9])
def test_badly_conditioned_matrices_keep_orthonormal_vectors(smallest):
    a = matrix(8, 12, [1.0, 0.5, smallest])
    u, s, v = leading_singular_vectors(a, 3)
    np.testing.assert_allclose(s, [1.0, 0.5, smallest], rtol=1e-5)
    np.testing.assert_allclose(u.T @ u, np.eye(3), atol=1e-8)
    np.testing.assert_allclose(v.T @ v, np.eye(3), atol=1e-8)


def test_directions_without_a_singular_value_are_left_out():
    assert leading_singular_vectors(matrix(8, 12, [3.0, 2.0]), 5).values.shape == (2,)
    assert leading_singular_vectors(torch.zeros(4, 5).double(), 3).left.shape == (4, 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_polar_factor_is_scipys(shape):
    a = matrix(*shape)
    q, rank, norm, _ = polar(a)
    np.testing.assert_allclose(norm, np.linalg.svd(a.numpy(), compute_uv=False).sum(), rtol=1e-10)
    np.testing.assert_allclose(q, scipy.linalg.polar(a.numpy())[0], atol=1e-9)
    assert rank == min(shape)


@pytest.mark.parametrize("smallest", [1e-3, 1e-5, 1e-10])
def test_polar_of_a_badly_conditioned_matrix(smallest):
    a = matrix(7, 7, [1, 0.9, 0.8, 0.5, 0.4, 0.3, smallest])
    np.testing.assert_allclose(polar(a).factor, scipy.linalg.polar(a.numpy())[0], atol=max(1e-8, 1e-14 / smallest))
    np.testing.assert_allclose(polar(a).factor @ polar(a).factor.T, np.eye(7), atol=1e-8)


def test_polar_without_full_rank_is_the_partial_isometry_on_what_is_there():
    a = matrix(6, 9, [5.0, 1.0])
    q, rank, norm, _ = polar(a)
    assert rank == 2
    assert norm == pytest.approx(6)
    u, _, vt = np.linalg.svd(a.numpy())
    np.testing.assert_allclose(q, u[:, :2] @ vt[:2], atol=1e-10)
    zero = polar(torch.zeros(3, 2).double())
    assert zero.rank == 0
    assert not zero.factor.any()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_does_not_matter(scale):
    a = matrix(5, 8)
    np.testing.assert_allclose(polar(a * scale).factor, polar(a).factor, atol=1e-10)
    np.testing.assert_allclose(
        leading_singular_vectors(a * scale, 3).values / scale, leading_singular_vectors(a, 3).values, rtol=1e-10
    )


@pytest.mark.parametrize(
    ("shape", "kernels", "expected"),
    [
        ((4, 5), True, (4, 5)),
        ((4, 5), False, (4, 5)),
        ((4, 3, 2, 2), True, (4, 12)),
        ((4, 3, 2, 2), False, None),
        ((4, 1, 5, 5), True, None),
        ((4,), True, None),
        ((), True, None),
        ((1, 9), True, None),
        ((9, 1), True, None),
        ((1, 50, 32), True, None),
        ((0, 4), True, None),
    ],
)
def test_what_counts_as_a_matrix(shape, kernels, expected):
    assert matrix_shape(shape, kernels=kernels) == expected


def large(shape, values, seed=0):
    """A matrix of a given spectrum, and the same after rounding to ``float32``."""
    rng, k = np.random.default_rng(seed), min(shape)
    u, v = (np.linalg.qr(rng.standard_normal((size, k)))[0] for size in shape)
    a = torch.from_numpy((u * values) @ v.T)
    return a, a.float().double()


LARGE = [(260, 260), (260, 700), (700, 260)]
SPECTRA = {"flat": np.linspace(1, 0.5, 260), "decaying": 1 / np.arange(1.0, 261), "steep": np.logspace(0, -9, 260)}


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_coarse_singular_vectors_are_as_good_as_rounding_leaves_the_matrix(shape, spectrum):
    a, _ = large(shape, SPECTRA[spectrum])
    u, s, v = (part.double() for part in leading_singular_vectors(a, 20, coarse=True))
    nu, ns, nvt = np.linalg.svd(a.numpy(), full_matrices=False)
    np.testing.assert_allclose(s, ns[:20], rtol=1e-4)
    best, found = (nu[:, :20] * ns[:20]) @ nvt[:20], ((u * s) @ v.T).numpy()
    gap = (ns[19] - ns[20]) / ns[0]
    assert np.linalg.norm(found - best) <= (2e-6 + 1e-6 / gap) * np.linalg.norm(best)
    np.testing.assert_allclose(u.T @ u, np.eye(20), atol=1e-4)
    np.testing.assert_allclose(v.T @ v, np.eye(20), atol=1e-4)


def test_a_flat_spectrum_is_worked_on_in_float32_and_a_steep_one_is_not():
    matrices = {name: large((260, 260), values)[0] for name, values in SPECTRA.items()}
    kinds = {name: leading_singular_vectors(a, 200, coarse=True).left.dtype for name, a in matrices.items()}
    assert kinds == {"flat": torch.float32, "decaying": torch.float64, "steep": torch.float64}
    assert polar(matrices["flat"], coarse=True).factor.dtype == torch.float32
    assert polar(matrices["decaying"], coarse=True).factor.dtype == torch.float64
    assert polar(matrices["flat"]).factor.dtype == torch.float64


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("smallest", [0.5, 0.05, 1e-2, 1e-4, 1e-6, 1e-9])
def test_a_coarse_polar_factor_is_right_to_three_millionths(shape, smallest):
    a, rounded = large(shape, np.geomspace(1, smallest, 260))
    q, rank, norm, _ = polar(a, coarse=True)
    assert norm == pytest.approx(np.geomspace(1, smallest, 260).sum(), rel=1e-6)
    assert rank == 260
    expected = scipy.linalg.polar(a.numpy())[0]
    moved = np.linalg.norm(scipy.linalg.polar(rounded.numpy())[0] - expected)
    assert np.linalg.norm(q.double().numpy() - expected) <= 2 * moved + 3e-6 * np.linalg.norm(expected)


RANKS = {"steep": np.logspace(0, -12, 40), "a step": np.repeat([1.0, 1e-6], 20), "half": np.linspace(1, 0.1, 20)}


@pytest.mark.parametrize("shape", [(40, 40), (40, 90), (90, 40)])
@pytest.mark.parametrize("spectrum", RANKS)
def test_rounds_need_no_decomposition_and_are_as_exact(shape, spectrum, monkeypatch):
    """Whatever the spectrum, to what rounding leaves: 1e-16 of the largest singular value."""
    rng, values = np.random.default_rng(3), RANKS[spectrum]
    left, right = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in shape)
    a = torch.from_numpy((left * values) @ right.T)
    for module in (lapack, polar_module, spectral):
        monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(torch.linalg, "svd", None)
    before = a.clone()
    u, s, v = leading_singular_vectors(a, 40)
    q, rank, norm, _ = polar(a)
    assert torch.equal(a, before)
    assert s.shape == (len(values),)
    assert rank == len(values)
    np.testing.assert_allclose(s, values, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose((u * s) @ v.T, a, atol=1e-14)
    np.testing.assert_allclose(u.T @ u, np.eye(len(values)), atol=1e-9)
    np.testing.assert_allclose(v.T @ v, np.eye(len(values)), atol=1e-9)
    np.testing.assert_allclose(q, left @ right.T, atol=max(1e-9, 1e-14 / values[-1]))
    assert norm == pytest.approx(values.sum(), rel=1e-10)
    again = leading_singular_vectors(a.clone(), 40, overwrite=True), polar(a.clone(), overwrite=True)
    assert torch.equal(again[0].right, v)
    assert torch.equal(again[1].factor, q)


@pytest.mark.parametrize("rounds", [1, 2])
def test_where_a_residual_is_not_small_the_decomposition_is_computed(rounds, monkeypatch):
    a = matrix(6, 9, [2.0, 1.0, 1e-5, 0.5e-5])
    departures = iter([0.0] * (rounds - 1) + [1.0])
    for module in (lapack, polar_module, spectral):
        monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(spectral, "departure", lambda factor: next(departures))
    u, s, v = leading_singular_vectors(a, 5)
    assert next(departures, None) is None
    np.testing.assert_allclose(s, [2.0, 1.0, 1e-5, 0.5e-5], rtol=1e-9)
    np.testing.assert_allclose((u * s) @ v.T, a, atol=1e-14)
    np.testing.assert_allclose(u.T @ u, np.eye(4), atol=1e-9)


def test_what_is_no_number_has_no_singular_vectors():
    for function in (polar, lambda a: leading_singular_vectors(a, 2)):
        with pytest.raises(torch.linalg.LinAlgError):
            function(torch.full((5, 4), torch.nan).double())


def test_float32_is_enough_where_models_have_no_more_and_matrices_are_large():
    def coarse(size, *dtypes):
        base, expert = (StateCheckpoint({"w": torch.eye(size).to(dtype)}, label="x") for dtype in dtypes)
        piece = Piece([Span("w", 0, size * size)], base, [("e", expert)], shape=(size, size))
        (delta,) = TaskMatrices(piece)
        assert delta.dtype == torch.float64
        assert torch.equal(TaskMatrices(piece).total(), delta)
        return TaskMatrices(piece).coarse

    single, half, double = torch.float32, torch.bfloat16, torch.float64
    assert coarse(256, single, single)
    assert coarse(300, half, single)
    assert not coarse(256, single, double)
    assert not coarse(255, single, single)
