"""Half products and some eigenvectors against NumPy, in both types and layouts."""

import threading

import numpy as np
import pytest
import torch

from fusion_bench.weights import lapack
from fusion_bench.weights.lapack import gram, largest_eigenpairs

DTYPES = [torch.float32, torch.float64]


def matrix(m, n, dtype=torch.float64, seed=0):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 7), (7, 1), (40, 90)])
@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
def test_gram_is_the_lower_triangle_of_the_product(shape, dtype, layout):
    a = matrix(*shape, dtype)
    a = {"rows": a, "columns": a.T.contiguous().T, "strided": torch.cat([a, a], 1)[:, : shape[1]]}[layout]
    expected = np.tril(a.double().numpy() @ a.double().numpy().T)
    np.testing.assert_allclose(gram(a).tril(), expected, rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=1e-5)


def test_gram_of_nothing():
    assert torch.equal(gram(torch.zeros(2, 0)), torch.zeros(2, 2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "count"), [(1, 1), (5, 1), (9, 4), (9, 9), (60, 7), (300, 30)])
@pytest.mark.parametrize("large", [1, lapack.LARGE])
def test_the_largest_eigenpairs_are_numpys(size, count, dtype, large, monkeypatch):
    monkeypatch.setattr(lapack, "LARGE", large)
    a = matrix(size, size + 3, dtype)
    symmetric = a @ a.T
    before = symmetric.clone()
    values, vectors = largest_eigenpairs(symmetric, count)
    assert torch.equal(symmetric, before)
    expected = np.linalg.eigvalsh(symmetric.double().numpy())[-count:]
    close = {"rtol": 1e-4, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(values, expected, **close)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(count), atol=close["rtol"])
    np.testing.assert_allclose(symmetric @ vectors, vectors * values, atol=close["atol"] * float(values[-1]))


def test_a_matrix_that_may_be_overwritten_is_and_gives_the_same():
    symmetric = gram(matrix(60, 63))
    expected = largest_eigenpairs(symmetric, 7)
    before = symmetric.clone()
    found = largest_eigenpairs(symmetric, 7, overwrite=True)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not torch.equal(symmetric, before)


def test_only_the_lower_triangle_is_looked_at():
    a = matrix(8, 8)
    symmetric = a @ a.T
    spoilt = symmetric.tril() + torch.full((8, 8), 1e9, dtype=torch.float64).triu(1)
    for one, other in zip(largest_eigenpairs(symmetric, 2), largest_eigenpairs(spoilt, 2), strict=True):
        assert torch.equal(one, other)


def test_threads_do_not_disturb_each_other():
    jobs = [matrix(80, 80, seed=seed) for seed in range(8)]
    alone = [largest_eigenpairs(gram(a), 5) for a in jobs]
    found = [None] * len(jobs)

    def work(number):
        found[number] = largest_eigenpairs(gram(jobs[number]), 5)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, found, strict=True):
        assert torch.equal(one[1], other[1])


def test_what_has_no_eigenvectors_is_refused():
    with pytest.raises(torch.linalg.LinAlgError, match="4 x 4"):
        largest_eigenpairs(torch.full((4, 4), torch.nan), 1)
