from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_bench.analysis import deltas
from fusion_bench.analysis.deltas import BLOCK, blocks, by_layer, counted, delta_blocks, for_each, layer_of, named
from fusion_bench.errors import FusionBenchError
from tests.analysis.planted import COUNTED, MATRICES, flat, pool


def test_every_floating_entry_comes_once_and_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas, "BLOCK", 5)
    base, experts = pool(dtype=torch.float16)
    states = named(base, experts)
    parts = [part for name in counted(base) for part in delta_blocks(base, states, name)]
    assert max(part.shape[1] for _, part in parts) == 5
    found = np.concatenate([part for _, part in parts], axis=1)
    assert found.dtype == np.float64
    assert list(states) == ["cars", "mnist", "svhn"]
    for row, name in zip(found, states, strict=True):
        assert np.array_equal(row, flat(base, experts[name]))  # float16 differences are exact in float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_block_is_float64_whatever_is_stored(dtype: torch.dtype) -> None:
    (part,) = blocks([{"w": torch.tensor([0.1, 3.0], dtype=dtype)}], "w")
    assert part.dtype == np.float64
    assert part.tolist() == [torch.tensor([0.1, 3.0], dtype=dtype).double().tolist()]


def test_large_tensors_are_cut() -> None:
    sizes = [part.shape for part in blocks([{"w": torch.zeros(2 * BLOCK + 1)}] * 2, "w")]
    assert sizes == [(2, BLOCK), (2, BLOCK), (2, 1)]


def test_integers_booleans_and_empty_tensors_do_not_count() -> None:
    base, _ = pool()
    assert counted(base) == COUNTED
    assert deltas.matrices(base) == MATRICES


def test_the_order_of_experts_and_the_counters_change_nothing() -> None:
    base, experts = pool()
    turned = dict(reversed(experts.items()))
    assert list(named(base, experts)) == list(named(base, turned))
    experts["cars"]["steps"] = torch.tensor(10**9)
    assert named(base, experts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": torch.tensor(float("nan"))}, "mnist: tensor 'scale' has 1 non-finite"),
        ({"scale": torch.zeros(2)}, r"mnist does not fit base: tensor 'scale' has shape \(2,\)"),
        ({"scale": torch.tensor(1)}, "mnist does not fit base: tensor 'scale' is torch.int64"),
        ({"more": torch.zeros(1)}, "mnist does not fit base: tensor 'more'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change: dict, words: str) -> None:
    base, experts = pool()
    experts["mnist"] = experts["mnist"] | change
    with pytest.raises(FusionBenchError, match=words):
        named(base, experts)


def test_a_broken_base_and_no_experts_are_refused() -> None:
    base, experts = pool()
    with pytest.raises(FusionBenchError, match="no experts"):
        named(base, {})
    with pytest.raises(FusionBenchError, match="base: tensor 'scale'"):
        named({**base, "scale": torch.tensor(float("inf"))}, experts)
    with pytest.raises(FusionBenchError, match="no tensor of floating-point numbers"):
        named({"steps": torch.tensor(1)}, [{"steps": torch.tensor(2)}])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vision_model.encoder.layers.11.self_attn.k_proj.weight", "vision_model.encoder.layers.11"),
        ("visual.stem.0.weight", "visual.stem.0"),
        ("visual.head.norm.bias", "visual.head.norm"),
        ("logit_scale", "logit_scale"),
        ("factors.3", "factors.3"),
    ],
)
def test_layers(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_terms_are_summed_within_layers_in_the_order_of_tensors() -> None:
    found = by_layer({"b.1.w": np.array([1.0]), "a.w": np.array([5.0]), "b.1.v": np.array([2.0])}, layer_of)
    assert {key: value.tolist() for key, value in found.items()} == {"b.1": [3.0], "a": [5.0]}


def test_each_item_is_worked_on_alone_and_results_keep_their_order() -> None:
    assert for_each(lambda x: (x, torch.get_num_threads()), range(20)) == [(x, 1) for x in range(20)]
