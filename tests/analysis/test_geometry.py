from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_bench.analysis import cosine_matrix, task_vector_norms
from fusion_bench.analysis.deltas import layer_of
from fusion_bench.errors import FusionBenchError
from tests.analysis.planted import COUNTED, flat, moved, orthogonal, pool

MODELS = st.builds(
    pool, st.integers(1, 5), seed=st.integers(0, 10**6), dtype=st.sampled_from([torch.float16, torch.float32])
)


def of_layer(layer: str) -> list[str]:
    return [name for name in COUNTED if layer_of(name) == layer]


@given(MODELS)
@settings(max_examples=25, deadline=None)
def test_cosines_and_norms_are_those_of_flat_vectors(models) -> None:
    base, experts = models
    found, norms = cosine_matrix(base, experts), task_vector_norms(base, experts)
    assert found.names == norms.names == tuple(sorted(experts))
    for layer in [None, *found.layers]:
        names = COUNTED if layer is None else of_layer(layer)
        vectors = np.stack([flat(base, experts[n], names) for n in found.names])
        lengths = np.linalg.norm(vectors, axis=1)
        expected = np.where(np.outer(lengths, lengths) > 0, vectors @ vectors.T, 0) / np.maximum(
            np.outer(lengths, lengths), 1e-300
        )
        got = found.whole if layer is None else found.layers[layer]
        assert got == pytest.approx(expected, abs=1e-12)
        assert (norms.whole if layer is None else norms.layers[layer]) == pytest.approx(lengths, rel=1e-12)
    zero = {name: torch.zeros_like(t) for name, t in base.items()}
    assert norms.base == pytest.approx(np.linalg.norm(flat(zero, base)), rel=1e-12)
    assert norms.relative == pytest.approx(norms.whole / norms.base)
    assert set(found.layers) == set(norms.layers) == {layer_of(name) for name in COUNTED}


def test_orthogonal_task_vectors_have_the_identity() -> None:
    base, _ = pool(0 + 1)
    directions = orthogonal(np.random.default_rng(3), 48, 4)
    experts = {f"e{i}": moved(base, "blocks.0.fc.weight", (i + 1) * directions[:, i]) for i in range(4)}
    found = cosine_matrix(base, experts)
    assert found.whole == pytest.approx(np.eye(4), abs=1e-14)
    assert found.mean == pytest.approx(0, abs=1e-14)
    assert task_vector_norms(base, experts).whole == pytest.approx([1, 2, 3, 4])


@given(MODELS, st.floats(0.01, 100), st.sampled_from([-1.0, 1.0]))
@settings(max_examples=15, deadline=None)
def test_scaling_a_task_vector_keeps_angles_and_scales_its_norm(models, factor: float, sign: float) -> None:
    base, experts = models
    base = {name: t.double() if t.is_floating_point() else t for name, t in base.items()}
    name = sorted(experts)[0]
    scaled = {
        key: base[key] + sign * factor * (t.double() - base[key]) if t.is_floating_point() else t
        for key, t in experts[name].items()
    }
    one, other = cosine_matrix(base, experts), cosine_matrix(base, {**experts, name: scaled})
    flip = np.ones(len(experts))
    flip[0] = sign
    assert other.whole == pytest.approx(one.whole * np.outer(flip, flip), abs=1e-9)
    lengths = task_vector_norms(base, experts).whole, task_vector_norms(base, {**experts, name: scaled}).whole
    assert lengths[1][0] == pytest.approx(factor * lengths[0][0], rel=1e-9)
    assert lengths[1][1:] == pytest.approx(lengths[0][1:])


def test_a_task_vector_of_zero_has_no_direction() -> None:
    base, experts = pool()
    experts["mnist"] = base
    found = cosine_matrix(base, experts)
    zero = found.names.index("mnist")
    for matrix in (found.whole, *found.layers.values()):
        assert not matrix[zero].any()
        assert not matrix[:, zero].any()
        assert np.isfinite(matrix).all()
        others = np.delete(np.diag(matrix), zero)
        assert (others == 1).all()
    assert task_vector_norms(base, experts).whole[zero] == 0


def test_one_expert_has_no_pairs() -> None:
    base, experts = pool(1)
    assert cosine_matrix(base, experts).mean == 0.0


def test_a_grouping_of_ones_own() -> None:
    base, experts = pool()
    found = cosine_matrix(base, experts, layer=lambda name: "all")
    assert found.layers["all"] == pytest.approx(found.whole)
    assert list(task_vector_norms(base, experts, layer=lambda name: name[0]).layers) == ["s", "b"]


def test_norms_relative_to_nothing() -> None:
    base, experts = pool()
    for name in of_layer("blocks.1"):
        base[name] = torch.zeros_like(base[name])
    found = task_vector_norms(base, experts)
    assert "blocks.1" not in found.relative_layers
    assert "blocks.0" in found.relative_layers
    nothing = {"w": torch.zeros(2)}
    with pytest.raises(FusionBenchError, match="every weight of the base is zero"):
        _ = task_vector_norms(nothing, [{"w": torch.ones(2)}]).relative
