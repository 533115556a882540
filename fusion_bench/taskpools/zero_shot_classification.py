"""Zero-shot image classification: images against the frozen text features of the class names, as CLIP does."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fusion_bench.datasets import ImageCache, Manifest
from fusion_bench.datasets.corruption import require_library
from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.registry import instantiate
from fusion_bench.taskpools.base import TaskAdapter, TaskPool
from fusion_bench.taskpools.protocols import Group, Outcome, Trial, read_protocol
from fusion_bench.taskpools.zero_shot import CorruptedTask, Corruptions, TaskConfig, ZeroShotTask
from fusion_bench.taskpools.zero_shot.corrupted import CLEAN, condition_groups

BATCH = 128  # measured on two cores: a quarter faster than 256, whose activations leave the cache


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    tasks: list[str] | dict[str, TaskConfig]
    path: str | None = None
    batch_size: int = Field(default=BATCH, ge=1)


class ZeroShotClassification(TaskPool):
    """Tasks whose classes are named in words.

    Args:
        name: of the pool.
        tasks: names of task folders below ``path`` (each has ``task.json`` and ``<split>.parquet``, listed in the
            manifest of ``path``), or a mapping of names to ``data`` (a folder or a hub id), ``classes``, ``templates``.
        path: the folder of the tasks, or ``package://mini8``.
        batch_size: images a step; results do not depend on what else runs, but may in the last bit on this number.
        corruptions: ``names``, ``severities`` and ``seed``: what is done to the test pictures (see `Corruptions`).
        protocol: ``type`` and its fields: which fusions a case makes (see ``taskpools.protocols``).

    Raises:
        FusionBenchError: an unknown task, option or protocol; or corruptions where their library is not installed.
    """

    def __init__(
        self,
        name: str,
        tasks: list[str] | dict[str, Any],
        path: str | None = None,
        batch_size: int = BATCH,
        corruptions: Mapping[str, Any] | None = None,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        options = _Options(name=name, tasks=tasks, path=path, batch_size=batch_size)
        self.name, self._batch = options.name, options.batch_size
        self._manifest: Manifest | None = None
        if isinstance(options.tasks, dict):
            self._configs = options.tasks
        else:
            if options.path is None:
                raise FusionBenchError(f"task pool {name!r} names tasks but no path", hint="add path: …")
            self._manifest = Manifest.read(options.path)
            self._configs = {task: self._read_task(task) for task in options.tasks}
        if not self._configs:
            raise FusionBenchError(f"task pool {name!r} has no task")
        self.tasks = tuple(self._configs)
        where = f"task pool {name!r}"
        self.protocol = read_protocol(protocol, where=where)
        self._corruptions: Corruptions | None = None
        if corruptions is not None:
            if not isinstance(corruptions, Mapping):
                raise FusionBenchError(f"{where}: corruptions is {corruptions!r}", hint="give it names and severities")
            self._corruptions = instantiate(Corruptions, corruptions, where=f"{where}, corruptions")
            require_library()

    def _read_task(self, task: str) -> TaskConfig:
        manifest = self._manifest
        if manifest is None:  # pragma: no cover - the constructor reads it first
            raise FusionBenchError("no manifest")
        known = sorted({name.split("/")[0] for name in manifest.files if name.endswith("/task.json")})
        if task not in known:
            raise unknown_name("task", task, known, where=str(manifest.folder))
        record = json.loads(manifest.path(f"{task}/task.json").read_text(encoding="utf-8"))
        return TaskConfig(data=str(manifest.folder / task), classes=record["classes"], templates=record["templates"])

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        cache = ImageCache()
        shared = (pool, cache, self._manifest, self._batch)
        if self._corruptions is None:
            return {t: ZeroShotTask(t, c, *shared) for t, c in self._configs.items()}
        return {t: CorruptedTask(t, c, *shared, corruptions=self._corruptions) for t, c in self._configs.items()}

    def content_hash(self) -> str:
        configs = {task: config.model_dump(mode="json", exclude={"data"}) for task, config in self._configs.items()}
        files = self._manifest.digest if self._manifest else {t: c.data for t, c in self._configs.items()}
        facts = self.facts()
        text = json.dumps([configs, files, *([facts] if facts else [])], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        return {} if self._corruptions is None else {"corruptions": self._corruptions.facts()}

    def trials(self, experts: Sequence[str]) -> tuple[Trial, ...]:
        """Those of the protocol; with corruptions also the main fusion on the pictures as they were."""
        found = super().trials(experts)
        if self._corruptions is None:
            return found
        return (*found, dataclasses.replace(found[0], name=CLEAN, group=CLEAN, split=CLEAN))

    def groups(self, outcomes: Sequence[Outcome]) -> list[Group]:
        """Those of the protocol; with corruptions also the mean over tasks of each corruption and each severity.

        ``accuracy/<corruption>_mean`` is over tasks and severities, ``accuracy/severity_<s>_mean`` over tasks and
        corruptions, ``accuracy/clean_mean`` over tasks; ``accuracy/<task>`` is over all conditions, clean not among
        them.
        """
        found = super().groups(outcomes)
        if self._corruptions is None:
            return found
        (clean,) = (outcome for outcome in outcomes if outcome.trial.split == CLEAN)
        conditions = outcomes[0].conditions
        found.append(Group("accuracy", CLEAN, tuple(clean.accuracy.values())))
        for name, members in condition_groups(list(conditions)).items():
            points = [statistics.fmean(conditions[member][task] for member in members) for task in self.tasks]
            found.append(Group("accuracy", name, tuple(points)))
        return found
