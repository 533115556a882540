"""Which built models a pool keeps, and which it knows again."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools import base
from fusion_bench.models.lent import Lent, stored_parameters
from fusion_bench.registry import load_modelpool


@pytest.fixture
def pool(toy_assets: Path):  # type: ignore[no-untyped-def]
    return load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})


def test_a_model_is_the_same_object_as_long_as_somebody_holds_it(pool, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(base, "_KEPT", 0)
    first = pool.model("circles")
    pool.model("stripes")
    assert list(pool._models) == ["stripes"]  # no room for two
    assert pool.model("circles") is first
    assert pool.owns(first) == "circles"
    mark = id(first)
    del first
    pool.model("stripes")
    gc.collect()
    assert "circles" not in pool._alive or id(pool._alive["circles"]) != mark


def test_the_model_used_longest_ago_goes_first(pool, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    size = sum(4 * parameter.numel() for parameter in pool.model("base").parameters())
    monkeypatch.setattr(base, "_KEPT", 2 * size)
    pool.model("circles")
    pool.model("base")
    pool.model("stripes")
    assert list(pool._models) == ["base", "stripes"]


def test_a_lent_model_is_built_when_it_is_used_and_counts_as_if_it_were_here(pool) -> None:  # type: ignore[no-untyped-def]
    members = nn.ModuleList([pool.lent("circles"), pool.lent("stripes")])
    assert "circles" not in pool._models
    one = stored_parameters(pool.model("base"))
    assert stored_parameters(members) == 2 * one > 0
    lent = members[0]
    assert isinstance(lent, Lent)
    assert lent.load() is pool.model("circles")
    with pytest.raises(FusionBenchError, match="'circle'"):
        pool.lent("circle")
