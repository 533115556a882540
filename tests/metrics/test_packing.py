"""Outcomes as text: what goes in comes out, and damage is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.packing import pack_outcome, unpack_outcome


def test_outcomes_that_are_scores() -> None:
    scores = np.random.default_rng(0).normal(size=100)
    packed = pack_outcome(scores)
    assert set(packed) == {"n", "scores"}
    assert np.array_equal(unpack_outcome(packed), scores.astype(np.float32).astype(np.float64))
    right = scores > 0
    assert unpack_outcome(pack_outcome(right)).dtype == np.bool_
    assert np.array_equal(unpack_outcome(pack_outcome(right)), right)


@pytest.mark.parametrize(("changed", "message"), [({"n": 99}, "100 examples where 99"), ({"scores": "?"}, "damaged")])
def test_damaged_scores(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(FusionBenchError, match=message):
        unpack_outcome({**pack_outcome(np.zeros(100)), **changed})
