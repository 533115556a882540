"""Iso-C against the SVD form in NumPy: a flat spectrum, on what directions there are."""

import numpy as np
import pytest
import scipy.stats
import torch

from fusion_bench.algorithms.iso_c import IsoC, flatten_spectrum, iso_c
from fusion_bench.weights import lapack, spectral
from fusion_bench.weights import polar as polar_module


@pytest.fixture(params=["by memory to spare", "in little memory"], autouse=True)
def _size(request, monkeypatch):
    """Everything twice: as matrices of this size are worked on, and as large ones are."""
    if request.param == "in little memory":
        for module in (lapack, polar_module, spectral):
            monkeypatch.setattr(module, "LARGE", 1)


def flat(matrix):
    return flatten_spectrum(torch.from_numpy(matrix)).numpy()


def reference(matrix):
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return s.mean() * u @ vt


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", [(7, 7), (5, 9), (9, 5), (2, 40)])
def test_equals_the_svd_form(shape):
    matrix = random(*shape)
    np.testing.assert_allclose(flat(matrix), reference(matrix), atol=1e-9)


def test_all_singular_values_are_the_mean_and_their_sum_is_kept():
    matrix = random(6, 10)
    before, after = (np.linalg.svd(x, compute_uv=False) for x in (matrix, flat(matrix)))
    np.testing.assert_allclose(after, before.mean(), rtol=1e-9)


def test_badly_conditioned_sums():
    u, v = scipy.stats.ortho_group.rvs(6, random_state=1), scipy.stats.ortho_group.rvs(6, random_state=2)
    for smallest in (1e-3, 1e-6, 1e-9):
        matrix = u @ np.diag([1, 0.8, 0.5, 0.2, 0.1, smallest]) @ v
        np.testing.assert_allclose(flat(matrix), reference(matrix), atol=1e-5)


def test_lower_rank_is_flat_on_its_own_directions():
    u, v = scipy.stats.ortho_group.rvs(6, random_state=1), scipy.stats.ortho_group.rvs(8, random_state=2)
    matrix = u[:, :2] @ np.diag([3.0, 1.0]) @ v[:, :2].T
    np.testing.assert_allclose(flat(matrix), 2.0 * u[:, :2] @ v[:, :2].T, atol=1e-9)
    assert not flat(np.zeros((3, 4))).any()


def test_orthogonal_maps_commute_with_flattening():
    matrix = random(6, 9)
    p, q = scipy.stats.ortho_group.rvs(6, random_state=1), scipy.stats.ortho_group.rvs(9, random_state=2)
    np.testing.assert_allclose(flat(p @ matrix @ q), p @ flat(matrix) @ q, atol=1e-9)


def test_flattening_twice_changes_nothing_more():
    once = flat(random(5, 8))
    np.testing.assert_allclose(flat(once), once, atol=1e-12)


def test_whole_model(make_models):
    base, experts = make_models(3, dtype=torch.float64)
    merged = iso_c(base, experts, scaling=1.5)
    for name in ("linear.weight", "tall.weight", "stem.weight"):
        total = sum((e[name] - base[name]) for e in experts.values()).numpy()
        update = reference(total.reshape(total.shape[0], -1)).reshape(total.shape)
        np.testing.assert_allclose(merged[name].numpy(), base[name].numpy() + 1.5 * update, atol=1e-9)
    for name in ("linear.bias", "depthwise.weight", "token", "scale"):
        update = sum((e[name] - base[name]) for e in experts.values()) / 3
        torch.testing.assert_close(merged[name], base[name] + 1.5 * update)


def test_kernels_can_be_averaged_as_the_authors_do(make_models):
    base, experts = make_models(2, dtype=torch.float64)
    merged = IsoC(kernels=False).merge(base, experts)
    torch.testing.assert_close(merged["stem.weight"], sum(e["stem.weight"] for e in experts.values()) / 2)
