"""Singular vectors and polar factors against NumPy and SciPy, also where they are badly conditioned."""

import numpy as np
import pytest
import scipy.linalg
import torch

from fusion_bench.weights.spectral import leading_singular_vectors, matrix_shape, polar


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
    q, rank = polar(a)
    np.testing.assert_allclose(q, scipy.linalg.polar(a.numpy())[0], atol=1e-9)
    assert rank == min(shape)


@pytest.mark.parametrize("smallest", [1e-3, 1e-5, 1e-10])
def test_polar_of_a_badly_conditioned_matrix(smallest):
    a = matrix(7, 7, [1, 0.9, 0.8, 0.5, 0.4, 0.3, smallest])
    np.testing.assert_allclose(polar(a).factor, scipy.linalg.polar(a.numpy())[0], atol=max(1e-8, 1e-14 / smallest))
    np.testing.assert_allclose(polar(a).factor @ polar(a).factor.T, np.eye(7), atol=1e-8)


def test_polar_without_full_rank_is_the_partial_isometry_on_what_is_there():
    a = matrix(6, 9, [5.0, 1.0])
    q, rank = polar(a)
    assert rank == 2
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
