"""Whole-model top-k: exactly the count asked for, drawn by position, whatever the chunks, threads and memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusion_bench.weights import selection
from fusion_bench.weights.checkpoint import StateCheckpoint
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.selection import kept_count, magnitude_cuts, tensor_cuts
from fusion_bench.weights.spans import Span
from fusion_bench.weights.vectors import Vectors


def flat(tensors):
    return np.concatenate([tensors[n].double().numpy().ravel() for n in sorted(tensors)])


def expected(tensors, count):
    values = flat(tensors)
    kept = np.zeros_like(values)
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    kept[order] = values[order]
    return kept


def tensors(seed=0, dtype=torch.float32, size=20_000):
    g = torch.Generator().manual_seed(seed)
    shapes = {"b": (size // 100, 100), "a": (77,), "c": (), "d": (0, 4), "e": (size,)}
    scale = {"b": 0.01, "a": 3.0, "c": 1.0, "d": 1.0, "e": 0.02}  # layers of one model move by different amounts
    return {n: (scale[n] * torch.randn(shape, generator=g)).to(dtype) for n, shape in shapes.items()}


@pytest.mark.parametrize("density", [0.0001, 0.003, 0.1, 0.2, 0.5, 0.999, 0.99999, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_exactly_the_largest_are_kept(density, dtype, trimmed_vector):
    values = tensors(dtype=dtype)  # half precision: hundreds of equal magnitudes at the threshold
    count = round(density * flat(values).size)
    np.testing.assert_array_equal(trimmed_vector(values, count), expected(values, count))


@pytest.mark.parametrize("chunk", [7, 4096, 1 << 20])
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_chunks_and_threads_change_nothing(chunk, threads, trimmed_vector):
    values = tensors(dtype=torch.bfloat16, size=5000)
    count = round(0.3 * flat(values).size)
    np.testing.assert_array_equal(trimmed_vector(values, count, chunk=chunk, threads=threads), expected(values, count))


@pytest.mark.parametrize("width", [0.0, 0.05, 8.0])
@pytest.mark.parametrize("entries", [0, 10, 1000])
def test_a_bad_bracket_and_too_little_memory_cost_passes_not_exactness(width, entries, monkeypatch, trimmed_vector):
    monkeypatch.setattr(selection, "_SPREAD", width)
    monkeypatch.setattr(selection._Budget, "__init__", lambda self, left: _budget(self, entries))
    for dtype in (torch.float32, torch.bfloat16):
        values = tensors(dtype=dtype)
        for density in (0.01, 0.2, 0.8):
            count = round(density * flat(values).size)
            np.testing.assert_array_equal(trimmed_vector(values, count), expected(values, count))


def _budget(self, left):
    import threading

    self.left, self.lock = left, threading.Lock()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([0.0, 0.5, -0.5, 1.0, -1.0, 1e-40, 3e38, 2.0**-149]), min_size=1, max_size=40),
    st.data(),
)
def test_equal_magnitudes_survive_in_order_of_position(trimmed_vector, values, data):
    count = data.draw(st.integers(0, len(values)))
    split = data.draw(st.integers(0, len(values)))
    state = {"b": torch.tensor(values[split:]), "a": torch.tensor(values[:split])}
    np.testing.assert_array_equal(trimmed_vector(state, count), expected(state, count))


@pytest.mark.parametrize("k", range(1, 9))
def test_equal_magnitudes_across_tensors(k, trimmed_vector):
    state = {
        "a": torch.tensor([1.0, -1.0, 2.0]),
        "b": torch.tensor([[1.0, 0.5], [-1.0, 1.0]]),
        "c": torch.tensor(-1.0),
    }
    np.testing.assert_array_equal(trimmed_vector(state, k), expected(state, k))


def test_thresholds_of_all_experts_come_from_their_own_vectors(scanned):
    base = {"w": torch.zeros(1000)}
    experts = {"a": {"w": torch.arange(1000.0)}, "b": {"w": 10 * torch.arange(1000.0)}}
    cuts = scanned(base, experts, lambda scan: magnitude_cuts(scan, Vectors((0, 1)), 100))
    assert [cut.threshold for cut in cuts] == [900.0, 9000.0]


def test_differences_are_compared_as_they_are_not_as_float32_rounds_them(trimmed_vector, scanned):
    # 1 - 1e-8 is 1 in float32, so a comparison in float32 could not tell these apart
    base = {"w": torch.tensor([1.0, 1.0])}
    experts = {"e": {"w": torch.tensor([2e-8, 1e-8])}}
    (cut,) = scanned(base, experts, lambda scan: magnitude_cuts(scan, Vectors((0,)), 1))
    assert cut.last is None
    assert cut.threshold == 1.0 - float(torch.tensor(1e-8).double())


def test_none_and_all(trimmed_vector):
    state = {"w": torch.tensor([0.0, 0.0, 3.0, 0.0, 1.0])}
    assert not trimmed_vector(state, 0).any()
    np.testing.assert_array_equal(trimmed_vector(state, 4), [0, 0, 3, 0, 1])
    np.testing.assert_array_equal(trimmed_vector(state, 5), [0, 0, 3, 0, 1])
    assert not trimmed_vector({"w": torch.zeros(10)}, 3).any()
    assert kept_count(0.5, 5) == 2  # half to even


def test_the_cut_of_one_tensor_keeps_the_earlier_of_equals(scanned):
    base, values = {"w": torch.zeros(4)}, torch.tensor([1.0, -1.0, 1.0, 0.5])

    def kept(count):
        def look(scan):
            vectors = Vectors((0,), offsets=scan.offsets)

            def entries(piece):
                return replace(vectors, cuts=tensor_cuts(piece, vectors, count)).entries(piece, 0).tolist()

            return scan.map(entries, "x")[0]

        return scanned(base, [{"w": values}], look)

    assert kept(2) == [1, -1, 0, 0]
    assert kept(0) == [0, 0, 0, 0]
    assert kept(9) == values.tolist() == [1, -1, 1, 0.5]


LARGE = 70_000


def _large_tensors():
    g = torch.Generator().manual_seed(0)
    normal = torch.randn(LARGE, generator=g)
    yield "continuous", normal
    yield "few values", (normal * 2).round() / 2
    yield "all equal", torch.ones(LARGE)
    hidden = normal.clone()  # a sample of every 1,093rd stretch of 256 sees none of the large ones
    hidden[torch.arange(LARGE) % (LARGE // 64) >= 256] *= 1000
    yield "a sample misleads", hidden
    yield "nearly all zero", torch.where(torch.arange(LARGE) % 1000 == 7, normal, 0.0)


@pytest.mark.parametrize(("kind", "values"), _large_tensors(), ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("count", [1, 50, LARGE // 5, LARGE // 2, LARGE - 1])
def test_the_cut_of_a_large_tensor_is_that_of_sorting_it(kind, values, count):
    base, expert = ({"w": w} for w in (torch.zeros(LARGE), values))
    models = [StateCheckpoint(state, label="x") for state in (base, expert)]
    piece = Piece([Span("w", 0, LARGE)], models[0], [("e", models[1])])
    vectors = Vectors((0,), offsets={"w": 5})
    cut = replace(vectors, cuts=tensor_cuts(piece, vectors, count))
    order = np.argsort(-np.abs(values.numpy()), kind="stable")[:count]
    wanted = np.zeros(LARGE)
    wanted[order] = values.numpy()[order]
    np.testing.assert_array_equal(cut.entries(piece, 0), wanted)
