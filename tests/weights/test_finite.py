"""Entries that are not finite are found and named."""

import math

import pytest
import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import StateCheckpoint
from fusion_bench.weights.finite import looks_finite, refuse_non_finite, unravelled
from fusion_bench.weights.header import Spec
from fusion_bench.weights.spans import Span

CHECKPOINT = StateCheckpoint({"a": torch.zeros(4), "w": torch.zeros(2, 3)}, label="mine")
SPANS = [Span("a", 2, 4), Span("w", 1, 6)]


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_single_one_is_seen_and_named(kind, value):
    entries = torch.full((7,), 300.0, dtype=kind)  # its square is beyond float16
    assert looks_finite(entries)
    refuse_non_finite(entries, SPANS, CHECKPOINT)
    entries[5] = value
    assert not looks_finite(entries)
    with pytest.raises(FusionBenchError, match=rf"mine: tensor 'w' has a non-finite entry at \[1, 1\]: {value}"):
        refuse_non_finite(entries, SPANS, CHECKPOINT)


def test_indices_are_those_of_row_major_order():
    shape = (2, 3, 4)
    expected = [list(index) for index in torch.ones(shape).nonzero().tolist()]
    assert [unravelled(position, Spec(shape, torch.float32)) for position in range(24)] == expected
    assert unravelled(0, Spec((), torch.float32)) == []
