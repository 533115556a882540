from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_bench.analysis import cross_task, loss_path
from fusion_bench.analysis.transfer import CrossTask
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_modelpool, load_taskpool
from fusion_bench.taskpools.evaluate import LogitCache, evaluate
from fusion_bench.taskpools.steps import Steps


@pytest.fixture
def pool(toy_assets):
    return load_modelpool({"type": "embedded_clip", "name": "toy", "path": str(toy_assets / "models_toy")})


@pytest.fixture
def adapters(toy_assets, pool):
    path = str(toy_assets / "tasks_toy")
    tasks = load_taskpool({"type": "zero_shot_classification", "path": path, "tasks": ["stripes", "circles"]})
    return tasks.bind(pool)


def test_every_cell_is_what_evaluation_says(pool, adapters) -> None:
    found = cross_task(pool, adapters)
    assert found.models == ("base", "circles", "stripes", "multitask")
    assert found.tasks == ("stripes", "circles")
    for i, model in enumerate(found.models):
        predictions = evaluate(pool.build(pool.state_dict(model)), adapters)
        for j, task in enumerate(found.tasks):
            assert found.accuracy[i, j] == predictions[task].value
            assert found.loss[i, j] == pytest.approx(predictions[task].loss.mean())


def test_logits_known_already_are_used(pool, adapters) -> None:
    cache = LogitCache(pool.owns)
    first = cross_task(pool, adapters, models=["base"], cache=cache)
    assert cache.bytes_held() > 0
    for adapter in adapters.values():
        adapter.logits = None  # whoever computes them again fails
    again = cross_task(pool, adapters, models=["base"], cache=cache)
    assert np.array_equal(first.accuracy, again.accuracy)


def test_batches_run_as_they_are_told_to(pool, adapters) -> None:
    class Full(Steps):
        sizes: list[int] = []  # noqa: RUF012

        def _attempt(self, step, batch, device):
            self.sizes.append(len(batch))
            return None if len(batch) > 4 else super()._attempt(step, batch, device)

    steps = Full("bfloat16")
    coarse, fine = cross_task(pool, adapters, models=["base"], steps=steps), cross_task(pool, adapters, models=["base"])
    assert max(steps.sizes) > 4 >= steps.limit("cpu")
    assert coarse.loss == pytest.approx(fine.loss, rel=0.05)
    assert not np.array_equal(coarse.loss, fine.loss)
    before = len(steps.sizes)
    loss_path(pool, adapters, "base", "circles", tasks=["circles"], points=3, steps=steps)
    assert all(size <= 4 for size in steps.sizes[before:])  # what fits is known


def test_own_and_other_tasks() -> None:
    found = CrossTask(
        ("base", "b", "a", "other"), ("a", "b", "c"), np.array([[0.1] * 3, [0.2, 0.9, 0.4], [0.8, 0, 1], [0] * 3]), None
    )
    assert found.own() == {"b": 0.9, "a": 0.8}
    assert found.elsewhere() == pytest.approx({"b": 0.3, "a": 0.5})
    assert CrossTask(("a",), ("a",), np.array([[0.5]]), np.zeros((1, 1))).elsewhere() == {}


def test_an_unknown_model_and_a_broken_one_are_named(pool, adapters) -> None:
    with pytest.raises(FusionBenchError, match="unknown model 'cirles'"):
        cross_task(pool, adapters, models=["cirles"])
    broken = {name: torch.full_like(tensor, float("nan")) for name, tensor in pool.state_dict("base").items()}
    pool.__dict__["_alive"] = {"base": pool.build(broken)}
    with pytest.raises(FusionBenchError, match="the loss of 'base' on stripes is not finite"):
        cross_task(pool, adapters, models=["base"])
