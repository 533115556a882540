"""The harness runs models whose layers come to the device when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusion_bench.taskpools.evaluate import LogitCache, evaluate
from fusion_bench.taskpools.steps import Steps
from fusion_bench.taskpools.streaming import least_room, weight_bytes
from tests.helpers.tiny_harness import taskpool


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_scores_are_the_same_to_the_bit(folder: Path, pool: Any, share: float) -> None:
    adapters = taskpool(folder).bind(pool)
    model = pool.model("base")
    weights = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in model.state_dict().items()}
    least, total = least_room(model), weight_bytes(model)
    steps = Steps(room={"cpu": int(least + share * (total - least))})
    whole = evaluate(model, adapters)
    with pytest.warns(UserWarning, match="run on cpu a layer at a time"):
        streamed = evaluate(pool.lent("base"), adapters, steps=steps, cache=LogitCache(pool.owns))
    assert steps.placing.how == "streamed"
    for task, found in whole.items():
        assert streamed[task].digest == found.digest
        assert streamed[task].extra == found.extra
    assert pool.model("base") is model
    for name, tensor in model.state_dict().items():
        assert tensor.data_ptr() == weights[name][0]
        assert (tensor == weights[name][1]).all()
