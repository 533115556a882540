"""Tasks of EleutherAI's lm-evaluation-harness for causal language models, through its Python interface."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.needed import require
from fusion_bench.modelpools.view import whole
from fusion_bench.taskpools.base import TaskAdapter, TaskPool
from fusion_bench.taskpools.harness import (
    Catalogue,
    HarnessTask,
    HarnessTaskConfig,
    OpenTask,
    open_task,
    require_library,
    version,
)
from fusion_bench.taskpools.protocols import read_protocol

BATCH = 8


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    tasks: dict[str, HarnessTaskConfig] = Field(min_length=1)
    include_path: str | None
    limit: int | None = Field(ge=1)
    batch_size: int = Field(ge=1)
    apply_chat_template: bool


class LmEvaluation(TaskPool):
    """Tasks of the harness: its prompts, filters, metrics and standard errors, as a report of this package.

    Args:
        name: of the pool.
        tasks: names of the harness, or a mapping of names to the fields of a ``HarnessTaskConfig``. A group of the
            harness is no task: its tasks are named one by one.
        include_path: a folder with the user's own tasks, in the harness' format.
        limit: only the first examples of each task, for trying out; it counts as other data.
        batch_size: examples at once, at most; halved where memory does not do.
        apply_chat_template: whether prompts go through the tokenizer's chat template.
        protocol: ``type`` and its fields: which fusions a case makes (see ``taskpools.protocols``).

    Raises:
        FusionBenchError: an unknown option or protocol; when bound, a task that cannot be run.
    """

    def __init__(
        self,
        name: str,
        tasks: list[str] | dict[str, Any],
        include_path: str | None = None,
        limit: int | None = None,
        batch_size: int = BATCH,
        apply_chat_template: bool = False,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        self._where = f"task pool {name!r}"
        if not isinstance(tasks, Mapping):
            tasks = dict.fromkeys(tasks)
        named = {task: {"task": task, **(fields or {})} for task, fields in tasks.items()}
        options = _Options(
            name=name, tasks=named, include_path=include_path, limit=limit, batch_size=batch_size,
            apply_chat_template=apply_chat_template,
        )  # fmt: skip
        self.name, self._configs, self._batch = options.name, options.tasks, options.batch_size
        self._chat, self._limit = options.apply_chat_template, options.limit
        self._path = None if options.include_path is None else Path(options.include_path).expanduser()
        self.tasks = tuple(self._configs)
        self.belongs = {task: config.expert for task, config in self._configs.items() if config.expert}
        self.protocol = read_protocol(protocol, where=self._where)
        self._opened: dict[str, OpenTask] = {}
        self._fits: dict[str, int] = {}

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        from fusion_bench.modelpools.text_models import CausalPool

        models = require(pool, CausalPool, by=self._where)
        own = self.own_experts(whole(pool).expert_names)  # a protocol that hides one leaves its task to no other
        shared: dict[str, Any] = {"batch": self._batch, "chat": self._chat, "fits": self._fits}
        return {
            task: HarnessTask(opened, models.tokenizer, expert=own.get(task), **shared)
            for task, opened in self._open().items()
        }

    def content_hash(self) -> str:
        tasks = {
            task: [one.digest, one.size, one.chosen.metric, one.chosen.filter] for task, one in self._open().items()
        }
        return hashlib.sha256(json.dumps([tasks, self._chat], sort_keys=True).encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        require_library(by=self._where)
        return {"lm_eval": version()}

    def _open(self) -> dict[str, OpenTask]:
        """All tasks, opened once: whatever is wrong with one is told before any model runs."""
        if not self._opened:
            require_library(by=self._where)
            catalogue = Catalogue(self._path, where=self._where)
            self._opened = {
                task: open_task(task, config, catalogue, limit=self._limit, where=self._where)
                for task, config in self._configs.items()
            }
        return self._opened
