"""What task pools of texts have in common: their cards, how they are hashed, and what they refuse."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_bench.datasets.stored import Data
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub.cards import with_cards
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.taskpools.base import TaskAdapter, TaskPool
from fusion_bench.taskpools.labelled.pool import content_of
from fusion_bench.taskpools.protocols import read_protocol
from fusion_bench.taskpools.text.config import TextTaskConfig

BATCH = 128


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    tasks: dict[str, TextTaskConfig] = Field(min_length=1)
    batch_size: int = Field(ge=1)


class TextTaskPool(TaskPool):
    """Tasks of texts; a subclass says what makes an adapter of one.

    Args:
        name: of the pool.
        tasks: names that have cards, or a mapping of names to the fields of a ``TextTaskConfig``.
        cards: a folder of ``<task>.yaml`` with these fields (see ``hub.cards``).
        batch_size: examples a step.
        protocol: ``type`` and its fields: which fusions a case makes (see ``taskpools.protocols``).

    Raises:
        FusionBenchError: an unknown task, option or protocol; a task whose metric the pool cannot make.
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
            raise FusionBenchError(f"{where} names tasks but no cards", hint="cards: package://glue_tasks")
        options = _Options(name=name, tasks=dict(named), batch_size=batch_size)
        self.name, self._configs, self._batch = options.name, options.tasks, options.batch_size
        for task, config in self._configs.items():
            if config.metric not in self._metrics():
                raise FusionBenchError(
                    f"{where}: {task!r} is scored by {config.metric}, which needs a model that writes numbers",
                    hint=f"by: generation, or type: text_classification for experts with heads; or leave {task!r} out "
                    "of tasks",
                )
        self.tasks = tuple(self._configs)
        self._files: dict[Data, dict[str, str] | None] = {}
        self.protocol = read_protocol(protocol, where=where)

    @abstractmethod
    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]: ...

    def content_hash(self) -> str:
        configs = {
            task: config.model_dump(mode="json", exclude=set() if config.also else {"also"})
            for task, config in self._configs.items()
        }
        text = json.dumps([configs, self._how(), *content_of(self._configs, self._files)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _metrics(self) -> tuple[str, ...]:
        """What tasks of it may be scored by."""
        return ("accuracy",)

    def _how(self) -> dict[str, Any]:
        """What else decides what is predicted."""
        return {}
