"""Tasks that ask for a map of every picture: segmentation, depth, surface normals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_bench.datasets.stored import Data
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub.cards import with_cards
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.dense import DensePredictorPool
from fusion_bench.modelpools.needed import require
from fusion_bench.taskpools.base import TaskAdapter, TaskPool
from fusion_bench.taskpools.dense import DenseExamples, DenseTask, DenseTaskConfig
from fusion_bench.taskpools.labelled.pool import content_of
from fusion_bench.taskpools.protocols import read_protocol

BATCH = 8


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    tasks: dict[str, DenseTaskConfig] = Field(min_length=1)
    batch_size: int = Field(ge=1)


class DensePrediction(TaskPool):
    """Tasks of maps, each called like the expert whose head answers it.

    A segmentation is scored by mean IoU, depth by the share of pixels within 25 % of the truth (δ1), normals by the
    share within 11.25°: shares, of which a mean over tasks makes sense. Errors in metres and degrees are reported
    beside them.

    Args:
        name: of the pool.
        tasks: names that have cards, or a mapping of names to the fields of a ``DenseTaskConfig``.
        cards: a folder of ``<task>.yaml`` with these fields (see ``hub.cards``).
        batch_size: examples a step.
        protocol: ``type`` and its fields: which fusions a case makes (see ``taskpools.protocols``).

    Raises:
        FusionBenchError: an unknown task, option or protocol.
    """

    def __init__(
        self,
        name: str,
        tasks: list[str] | dict[str, Any],
        cards: str | None = None,
        batch_size: int = BATCH,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        where = f"task pool {name!r}"
        named = with_cards(tasks, cards, where=where)
        if not isinstance(named, Mapping):
            raise FusionBenchError(f"{where} names tasks but no cards", hint="cards: package://dense_tasks")
        options = _Options(name=name, tasks=dict(named), batch_size=batch_size)
        self.name, self._configs, self._batch = options.name, options.tasks, options.batch_size
        self.tasks = tuple(self._configs)
        self._files: dict[Data, dict[str, str] | None] = {}
        self.protocol = read_protocol(protocol, where=where)

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        predictors = require(pool, DensePredictorPool, by=f"task pool {self.name!r}")
        return {task: DenseTask(task, config, predictors, batch=self._batch) for task, config in self._configs.items()}

    def examples(self, task: str, pool: DensePredictorPool) -> DenseExamples:
        """The pictures of a task as a pool's models take them, whether or not it has an expert for it."""
        return DenseExamples(task, self._configs[task], pool.mean, pool.std, batch=self._batch)

    def content_hash(self) -> str:
        configs = {task: config.model_dump(mode="json") for task, config in self._configs.items()}
        text = json.dumps([configs, *content_of(self._configs, self._files)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
