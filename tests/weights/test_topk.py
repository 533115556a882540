"""Whole-model top-k: exactly the count asked for, drawn by position."""

import numpy as np
import pytest
import torch

from fusion_bench.weights.task_vectors import TaskVectors
from fusion_bench.weights.topk import Cut, kept_count, magnitude_cut


def vectors(**tensors):
    return TaskVectors.of({k: torch.zeros_like(v) for k, v in tensors.items()}, {"e": tensors})


def kept(v, density):
    cut = magnitude_cut(v, "e", density)
    return torch.cat([cut.trim(v.delta("e", n), offset=v.offsets[n]).flatten() for n in v.names]).numpy()


@pytest.mark.parametrize("density", [0.003, 0.1, 0.2, 0.5, 0.999, 1.0])
def test_exactly_the_largest_are_kept(density):
    g = torch.Generator().manual_seed(0)
    v = vectors(b=torch.randn(20, 30, generator=g), a=torch.randn(77, generator=g), c=torch.randn((), generator=g))
    flat = np.concatenate([v.delta("e", n).flatten().numpy() for n in ("a", "b", "c")])
    k = round(density * flat.size)
    expected = np.zeros_like(flat)
    largest = np.argsort(-np.abs(flat), kind="stable")[:k]
    expected[largest] = flat[largest]
    np.testing.assert_array_equal(kept(v, density), expected)


@pytest.mark.parametrize("k", range(1, 9))
def test_equal_magnitudes_survive_in_order_of_position_across_tensors(k):
    v = vectors(a=torch.tensor([1.0, -1.0, 2.0]), b=torch.tensor([[1.0, 0.5], [-1.0, 1.0]]), c=torch.tensor(-1.0))
    flat = np.array([1, -1, 2, 1, 0.5, -1, 1, -1.0])
    order = np.argsort(-np.abs(flat), kind="stable")[:k]
    expected = np.zeros(8)
    expected[order] = flat[order]
    np.testing.assert_array_equal(kept(v, k / 8), expected)


def test_all_equal_keeps_the_first():
    np.testing.assert_array_equal(kept(vectors(w=torch.ones(10)), 0.3), [1, 1, 1, 0, 0, 0, 0, 0, 0, 0])


def test_zero_vector_and_a_density_that_rounds_to_nothing():
    assert not kept(vectors(w=torch.zeros(10)), 0.3).any()
    assert not kept(vectors(w=torch.ones(2)), 0.2).any()
    assert kept(vectors(w=torch.ones(1)), 1.0) == 1


def test_more_zeros_than_dropped_entries_loses_no_value():
    v = vectors(w=torch.tensor([0.0, 0.0, 3.0, 0.0, 1.0]))
    np.testing.assert_array_equal(kept(v, 0.8), [0, 0, 3, 0, 1])


def test_kept_support_grows_with_density():
    v = vectors(w=torch.randn(200, generator=torch.Generator().manual_seed(1)))
    supports = [set(np.flatnonzero(kept(v, d))) for d in (0.1, 0.3, 0.7)]
    assert supports[0] < supports[1] < supports[2]


def test_trim_in_chunks_equals_trim_at_once():
    values = torch.tensor([1.0, 2.0, 1.0, 1.0, 0.0])
    cut = Cut(threshold=1.0, last=2)
    parts = [cut.trim(values[:3], offset=0), cut.trim(values[3:], offset=3)]
    assert torch.equal(torch.cat(parts), cut.trim(values))
    assert kept_count(0.5, 5) == 2  # half to even
