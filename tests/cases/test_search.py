"""The search over validation data: which values, in which order, and the same model as a run of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusion_bench import load_algorithm, load_modelpool
from fusion_bench.algorithms.ties import Ties
from fusion_bench.cases.search import Candidates, combinations, grid_search, open_fields
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import ModelPool


@pytest.fixture(scope="module")
def pool(toy_assets: Path) -> ModelPool:
    return load_modelpool({"type": "embedded_clip", "path": str(toy_assets / "models_toy")})


def test_of_equal_scores_the_earlier_wins_and_all_are_reported() -> None:
    search = grid_search({"a": [1, 2], "b": [3, 4]}, lambda values: float(values["a"] == 2))
    assert search.best == {"a": 2, "b": 3}
    assert [values for values, _ in search.tried] == [
        {"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4},
    ]  # fmt: skip


@pytest.mark.parametrize("values", ["0.1, 0.2", 0.3, [], None])
def test_values_that_are_no_list_are_refused(values: object) -> None:
    with pytest.raises(FusionBenchError, match=r"search\.scaling"):
        combinations({"scaling": values})  # type: ignore[dict-item]


def test_what_the_user_fixed_is_not_searched() -> None:
    config = {"scaling": 0.3, "density": 0.2, "search": {"scaling": [0.1, 0.3], "density": [0.1, 0.2]}}
    assert set(open_fields(config, [])) == {"scaling", "density"}
    assert set(open_fields(config, ["algorithm.scaling=0.3"])) == {"density"}
    assert set(open_fields(config, ["++algorithm.scaling=0.3"])) == {"density"}
    assert set(open_fields(config, ["modelpool.scaling=0.3"])) == {"scaling", "density"}
    assert set(open_fields(config, [], shipped={**config, "density": 0.5})) == {"scaling"}
    assert open_fields({"search": None}, []) == {}
    with pytest.raises(FusionBenchError, match="search is"):
        open_fields({"search": [0.1]}, [])


@pytest.mark.parametrize("name", ["ties", "dare_task_arithmetic", "tsv_m", "slerp"])
def test_a_candidate_is_the_model_that_a_run_gives_to_the_bit(pool: ModelPool, name: str) -> None:
    field = "t" if name == "slerp" else "scaling"
    fused = Candidates(load_algorithm(name), pool)
    for value in (0.2, 0.7):
        expected = load_algorithm(name, **{field: value}).run(pool).state_dict()
        found = fused({field: value}).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_task_vectors_are_merged_once_along_scaling(pool: ModelPool, monkeypatch: pytest.MonkeyPatch) -> None:
    merged = []
    original = Ties.task_vector
    monkeypatch.setattr(
        Ties, "task_vector", lambda self, *models: merged.append(self.density) or original(self, *models)
    )
    fused = Candidates(load_algorithm("ties"), pool)
    for values in combinations({"density": [0.1, 0.5], "scaling": [0.2, 0.4, 0.6]}):
        fused(values)
    assert merged == [0.1, 0.5]
