"""Electing signs: compiled loops, torch and plain NumPy give the same bits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusion_bench.algorithms.ties import Ties
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.election import elected
from fusion_bench.weights.memory import merge_in_memory
from fusion_bench.weights.vectors import Cut, Vectors

COMBINES = ["mean", "weighted_mean", "sum"]


def found(scanned, deltas, weights, combine, undecided, *, vectors=None, **options):
    """What ``elected`` makes of some task vectors, put together from its pieces."""
    base = {"w": torch.zeros_like(deltas[0])}
    experts = {f"e{i}": {"w": delta} for i, delta in enumerate(deltas)}

    def look(scan):
        chosen = vectors or Vectors(tuple(range(len(deltas))))
        return scan.map(lambda piece: elected(chosen, piece, weights, combine, undecided), "look")

    parts = scanned(base, experts, look, **options)
    entries = torch.cat([part.entries for part in parts]).numpy()
    return entries, sum(part.balance for part in parts), any(part.cancelled for part in parts)


def expected(deltas, weights, combine, undecided):
    """Entry by entry, in Python's own numbers."""
    merged, balance, cancelled = [], 0, False
    for values in zip(*(delta.double().tolist() for delta in deltas), strict=True):
        if combine == "weighted_mean":
            values = [value * weight for value, weight in zip(values, weights, strict=True)]
        total = 0.0
        for value in values:
            total += value
        sign = (total > 0) - (total < 0)
        balance += sign
        if sign == 0:
            cancelled |= any(value != 0 for value in values)
            sign = undecided
        chosen = [(v, w) for v, w in zip(values, weights, strict=True) if v * sign > 0]
        size = sum(w for _, w in chosen) if combine == "weighted_mean" else len(chosen)
        result = 0.0
        for value, weight in chosen:
            result += value if combine == "weighted_mean" else value * weight
        merged.append(result if combine == "sum" or size == 0 else result / size)
    return np.array(merged), balance, cancelled


VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -2.0, 1e-30, 1e30, 0.1, -0.7])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(COMBINES), st.sampled_from([-1.0, 0.0, 1.0]))
def test_it_is_the_definition_to_the_bit(scanned, by_torch, data, combine, undecided):
    count, size = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12))
    deltas = [torch.tensor(data.draw(st.lists(VALUES, min_size=size, max_size=size))) for _ in range(count)]
    weights = data.draw(st.lists(st.sampled_from([1.0, 0.5, 2.0, 0.3]), min_size=count, max_size=count))
    reference = expected(deltas, weights, combine, undecided)
    for run in (found, lambda *args: by_torch(found, *args)):
        entries, balance, cancelled = run(scanned, deltas, weights, combine, undecided)
        np.testing.assert_array_equal(entries, reference[0])
        assert (balance, cancelled) == reference[1:]


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_long_tensors_and_trimmed_ones(combine, dtype, scanned, by_torch):
    g = torch.Generator().manual_seed(0)
    deltas = [torch.randn(9000, generator=g).to(dtype) for _ in range(4)]
    trimmed = [torch.where(delta.abs() < 0.8, 0.0, delta) for delta in deltas]
    reference = expected(trimmed, [1.0, 0.5, 1.0, 2.0], combine, 0.0)
    vectors = Vectors((0, 1, 2, 3), cuts=(Cut(float(torch.tensor(0.8).to(dtype))),) * 4, offsets={"w": 0})
    for run in (found, lambda *args, **options: by_torch(found, *args, **options)):
        for chunk in (None, 4096):
            parts = run(scanned, deltas, [1.0, 0.5, 1.0, 2.0], combine, 0.0, vectors=vectors, chunk=chunk)
            np.testing.assert_array_equal(parts[0], reference[0])
            assert parts[1:] == reference[1:]


def test_what_is_no_number_is_not_hidden(scanned, by_torch):
    deltas = [torch.tensor([math.nan, 1.0, math.inf]), torch.tensor([1.0, 1.0, 1.0])]
    for run in (found, lambda *args, **options: by_torch(found, *args, **options)):
        entries, *_ = run(scanned, deltas, [1.0, 1.0], "mean", 0.0, on_non_finite="allow")
        np.testing.assert_array_equal(entries, [math.nan, 1.0, math.inf])


def half_models(signs, size=1024, blocks=16):
    """Two experts of ``bfloat16`` blocks: in each two entries cancel, and the others have that block's sign."""
    deltas = [torch.zeros(blocks, size) for _ in range(2)]
    for block, sign in enumerate(signs):
        for delta, opposite in zip(deltas, (1.0, -1.0), strict=True):
            delta[block] = sign * 0.5
            delta[block, :2] = torch.tensor([opposite, 2 * opposite])
    return [delta.reshape(-1).bfloat16() for delta in deltas]


def merged_halves(deltas, dtype=torch.bfloat16, base=0.0, scaling=1.0, threads=1):
    """The merged model, and how many pieces were merged once more."""
    again = []
    result = merge_in_memory(
        Ties(density=1.0, scaling=scaling),
        {"w": torch.full_like(deltas[0], base, dtype=dtype)},
        {f"e{i}": {"w": (delta.float() + base).to(dtype)} for i, delta in enumerate(deltas)},
        scaling=scaling,
        chunk=1024,
        threads=threads,
        progress=lambda stage, done, total: again.append(total) if stage == "settle" else None,
    )
    return result["w"], max(again, default=0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_pieces_that_used_the_final_majority_are_merged_once(sign):
    merged, again = merged_halves(half_models([sign] * 16))
    assert again == 1  # the first: nothing had voted yet
    expected = torch.full((16, 1024), sign * 0.5)
    expected[:, :2] = sign * torch.tensor([1.0, 2.0])
    assert torch.equal(merged.float().reshape(16, 1024), expected)


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize(
    ("signs", "majority"),
    [([1.0] * 7 + [-1.0] * 9, -1.0), ([-1.0] * 3 + [1.0] * 13, 1.0), ([1.0] * 8 + [-1.0] * 8, 0.0)],
)
def test_a_majority_that_turns_is_the_whole_models(signs, majority, threads):
    merged, _ = merged_halves(half_models(signs), threads=threads)
    expected = torch.tensor(signs).repeat_interleave(1024).reshape(16, 1024) * 0.5
    expected[:, :2] = majority * torch.tensor([1.0, 2.0])
    assert torch.equal(merged.float().reshape(16, 1024), expected)


def test_a_majority_that_does_not_last_overflows_nothing():
    """With the sign of the first block θ₀ + λΔ would be beyond float16, with that of all it is not."""
    deltas = [delta * 128 for delta in half_models([1.0] + [-1.0] * 15)]
    merged, again = merged_halves(deltas, dtype=torch.float16, base=60000.0, scaling=30.0)
    assert again == 3  # the first and the third, whose votes before them were even, and the second, with +
    assert merged.isfinite().all()


def test_an_overflow_with_the_majority_that_lasted_is_refused():
    deltas = [delta * 128 for delta in half_models([1.0] * 16)]
    for delta in deltas:
        delta[:2] = 64  # nothing cancels in the first piece, so that the others know the majority at once
    with pytest.raises(FusionBenchError, match=r"'w' is not finite in torch\.float16 at"):
        merged_halves(deltas, dtype=torch.float16, base=60000.0, scaling=30.0)
