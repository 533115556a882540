"""What task pools of labelled examples have in common: where their tasks are, and how they are hashed."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_bench.datasets import Manifest
from fusion_bench.datasets.stored import Data, files_of
from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.hub.cards import with_cards
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.taskpools.base import TaskAdapter, TaskPool
from fusion_bench.taskpools.labelled.config import TaskConfig
from fusion_bench.taskpools.protocols import read_protocol

BATCH = 128  # measured for pictures on two cores: a quarter faster than 256, whose activations leave the cache


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    tasks: list[str] | dict[str, TaskConfig]
    path: str | None = None
    batch_size: int = Field(ge=1)


class LabelledTaskPool(TaskPool):
    """Tasks whose examples have a class each; a subclass says what makes an adapter of one.

    Args:
        name: of the pool.
        tasks: names of task folders below ``path`` (each has ``task.json`` and ``<split>.parquet``, listed in the
            manifest of ``path``), or a mapping of names to a ``TaskConfig``'s fields.
        path: the folder of the tasks, or ``package://…``.
        cards: a folder of ``<task>.yaml`` with these fields, for tasks that are named only (see ``hub.cards``).
        batch_size: examples a step.
        protocol: ``type`` and its fields: which fusions a case makes (see ``taskpools.protocols``).

    Raises:
        FusionBenchError: an unknown task, option or protocol.
    """

    def __init__(
        self,
        name: str,
        tasks: list[str] | dict[str, Any],
        path: str | None = None,
        cards: str | None = None,
        batch_size: int = BATCH,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        tasks = with_cards(tasks, cards, where=f"task pool {name!r}")
        options = _Options(name=name, tasks=tasks, path=path, batch_size=batch_size)
        self.name, self._batch = options.name, options.batch_size
        self._manifest: Manifest | None = None
        if isinstance(options.tasks, dict):
            self._configs = options.tasks
        else:
            if options.path is None:
                raise FusionBenchError(f"task pool {name!r} names tasks but no path", hint="add path: …")
            self._manifest = Manifest.read(options.path)
            self._configs = {task: _read_task(self._manifest, task) for task in options.tasks}
        if not self._configs:
            raise FusionBenchError(f"task pool {name!r} has no task")
        self.tasks = tuple(self._configs)
        self._files: dict[Data, dict[str, str] | None] = {}
        self.protocol = read_protocol(protocol, where=f"task pool {name!r}")

    @abstractmethod
    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]: ...

    def content_hash(self) -> str:
        configs = {task: config.model_dump(mode="json", exclude=_excluded(config)) for task, config in self._items()}
        files = self._manifest.digest if self._manifest else {t: c.data for t, c in self._items()}
        facts = self.facts()
        unlisted = [] if self._manifest else content_of(self._configs, self._files)
        text = json.dumps([configs, files, *([facts] if facts else []), *unlisted], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _items(self) -> list[tuple[str, TaskConfig]]:
        return list(self._configs.items())


def content_of(configs: Mapping[str, Any], known: dict[Data, dict[str, str] | None]) -> list[dict[str, Any]]:
    """What else tasks without a manifest are made of: their files, and the order of what is held out, which draws it.

    Args:
        configs: of tasks, with ``data``, ``subset``, ``revision`` and ``held_out``.
        known: digests that were read before; those of this call are added.

    Returns:
        A mapping of each kind that there is, by task; the files of a task that is not here are None.
    """
    for one in map(_data, configs.values()):
        if one not in known:
            known[one] = files_of(one)
    files = {task: known[_data(config)] for task, config in configs.items()}
    orders = {task: list(config.held_out) for task, config in configs.items() if len(config.held_out or ()) > 1}
    found: list[dict[str, Any]] = [{"files": files}] if any(files.values()) else []
    return [*found, *([{"held_out": orders}] if orders else [])]


def _data(config: Any) -> Data:
    return Data(config.data, config.subset, config.revision)


def _excluded(config: TaskConfig) -> set[str]:
    """What does not count: where the data is, and fields that are not used, so that new ones change no old hash."""
    return {"data"} | {name for name in type(config).model_fields if name not in config.model_fields_set}


def _read_task(manifest: Manifest, task: str) -> TaskConfig:
    known = sorted({name.split("/")[0] for name in manifest.files if name.endswith("/task.json")})
    if task not in known:
        raise unknown_name("task", task, known, where=str(manifest.folder))
    record = json.loads(manifest.path(f"{task}/task.json").read_text(encoding="utf-8"))
    return TaskConfig(data=str(manifest.folder / task), classes=record["classes"], templates=record["templates"])
