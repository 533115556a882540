"""Which fused models are kept, and what is said about their size."""

from __future__ import annotations

import pytest

from fusion_bench.cases import Case
from fusion_bench.cases.storage import announcement, keeps
from fusion_bench.errors import FusionBenchError


def test_small_models_are_kept_and_large_ones_on_request() -> None:
    assert keeps(None, 49_999_999)
    assert not keeps(None, 50_000_000)
    assert keeps("best", 10**10)
    assert keeps("all", 10**10)
    assert not keeps("none", 1)
    with pytest.raises(FusionBenchError, match="'bets'"):
        keeps("bets", 1)


def test_the_announcement_counts_fused_models_only() -> None:
    cases = [
        Case("ties", "p", "t"),
        Case("pretrained", "p", "t", kind="reference"),
        Case("e", "p", "t", kind="ensemble"),
    ]
    assert announcement("all", 2_000_000_000, cases) == "keeping 1 fused models of 2.0 GB: 2.0 GB"
    assert announcement("none", 2, cases) is announcement(None, 2, cases) is None
    assert announcement("all", 2, cases[1:]) is None
