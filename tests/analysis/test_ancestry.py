from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_bench.analysis import kinship
from fusion_bench.analysis.ancestry import UNRELATED, shuffled
from fusion_bench.errors import FusionBenchError
from tests.analysis.planted import MATRICES, pool, state

SIDE = 60


def network(seed: int, *, parent: dict | None = None, step: float = 0.05) -> dict:
    """Matrices and gains of one; a child moves a little from its parent, in a direction of its own."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((SIDE, SIDE))
    found = weights if parent is None else parent["fc.weight"].numpy() + step * weights
    return {"fc.weight": torch.from_numpy(found), "norm.weight": torch.full((SIDE,), 100.0).double()}


def test_distances_and_cosines_are_those_of_flat_matrices() -> None:
    _, models = pool(3)
    candidates = {"base": state(50), "other": state(51)}
    found = kinship(models, candidates)

    def vector(model: dict) -> np.ndarray:
        return np.concatenate([model[name].double().numpy().ravel() for name in MATRICES])

    for i, model in enumerate(found.models):
        for j, candidate in enumerate(found.candidates):
            a, b = vector(models[model]), vector(candidates[candidate])
            scale = np.sqrt((a @ a + b @ b) / 2)
            assert found.distance[i, j] == pytest.approx(np.linalg.norm(a - b) / scale)
            assert found.cosine[i, j] == pytest.approx(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    for j, candidate in enumerate(found.candidates):
        ways = [vector(models[m]) - vector(candidates[candidate]) for m in found.models]
        units = np.stack([way / np.linalg.norm(way) for way in ways])
        inner = units @ units.T
        assert found.offset[j] == pytest.approx(inner[~np.eye(3, dtype=bool)].mean())


def test_the_base_is_found_among_siblings_and_strangers() -> None:
    base = network(0)
    children = {f"child{i}": network(10 + i, parent=base) for i in range(4)}
    found = kinship(children, {"sibling": network(99, parent=base), "base": base, "stranger": network(1)})
    assert set(found.nearest().values()) == {"base"}
    sibling, parent, stranger = found.offset
    assert abs(parent) < 0.05
    assert sibling == pytest.approx(0.5, abs=0.05)
    assert stranger > 0.99
    assert found.distance[:, 2] == pytest.approx(UNRELATED, abs=0.1)
    assert found.distance[:, 1] == pytest.approx(0.05, abs=0.005)
    assert found.distance[:, 0] == pytest.approx(0.05 * np.sqrt(2), abs=0.005)
    assert found.related().tolist() == [[1.0, 1.0, 0.0]] * 4


def test_a_small_step_does_not_drown_in_large_weights() -> None:
    base = {"w": torch.full((3, 3), 1e6, dtype=torch.float64)}
    child = {"w": base["w"] + torch.eye(3).double() * 2.0**-20}
    found = kinship({"child": child}, {"base": base})
    assert found.distance[0, 0] == pytest.approx(np.sqrt(3) * 2.0**-20 / 3e6, rel=1e-9)


def test_gains_of_one_make_no_kin() -> None:
    found = kinship({"a": network(0)}, {"b": network(1)})
    assert found.distance[0, 0] > 1.3  # the vectors of 100 are the same in both, and would make it 0.6


def test_a_model_is_not_its_own_nearest_and_the_distance_is_symmetric() -> None:
    models = {f"m{i}": network(i) for i in range(3)}
    found = kinship(models, models)
    assert found.distance == pytest.approx(found.distance.T)
    assert not np.diag(found.distance).any()
    assert all(name != near for name, near in found.nearest().items())
    assert kinship({"a": network(0)}, {"a": network(0)}).nearest() == {}


def test_zero_weights_and_equal_ones_are_defined() -> None:
    zero, one = {"w": torch.zeros(2, 2)}, {"w": torch.ones(2, 2)}
    found = kinship({"zero": zero, "one": one}, {"zero": zero, "one": one})
    assert found.distance == pytest.approx(np.array([[0, UNRELATED], [UNRELATED, 0]]))
    assert found.cosine.tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert found.offset.tolist() == [0.0, 0.0]


def test_models_without_a_matrix_are_compared_over_vectors() -> None:
    found = kinship({"a": {"b": torch.tensor([1.0, 0.0])}}, {"c": {"b": torch.tensor([0.0, 1.0])}})
    assert found.distance[0, 0] == pytest.approx(UNRELATED)


def test_a_stranger_is_the_same_numbers_elsewhere() -> None:
    base, _ = pool(1)
    found = shuffled(base, seed=3)
    assert list(found) == list(base)
    for name, tensor in base.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name].flatten().sort()[0], tensor.flatten().sort()[0])
    assert not torch.equal(found["blocks.0.fc.weight"], base["blocks.0.fc.weight"])
    again, other = shuffled(base, seed=3), shuffled(base, seed=4)
    assert torch.equal(again["blocks.0.fc.weight"], found["blocks.0.fc.weight"])
    assert not torch.equal(other["blocks.0.fc.weight"], found["blocks.0.fc.weight"])


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(FusionBenchError, match="a model and a candidate"):
        kinship({}, {"base": network(0)})
    with pytest.raises(FusionBenchError, match=r"model tall does not fit candidate first: tensor 'w'"):
        kinship({"tall": {"w": torch.zeros(3, 2)}}, {"first": {"w": torch.zeros(2, 2)}})
