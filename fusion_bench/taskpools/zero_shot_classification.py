"""Zero-shot image classification: images against the frozen text features of the class names, as CLIP does."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fusion_bench.datasets import ImageCache
from fusion_bench.datasets.corruption import require_library
from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.needed import require
from fusion_bench.modelpools.zero_shot import ImagePool
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.labelled import LabelledTaskPool
from fusion_bench.taskpools.labelled.pool import BATCH
from fusion_bench.taskpools.protocols import Group, Outcome, Trial
from fusion_bench.taskpools.zero_shot import CorruptedTask, Corruptions, ImageTask
from fusion_bench.taskpools.zero_shot.corrupted import CLEAN, condition_groups
from fusion_bench.validation import instantiate


class ZeroShotClassification(LabelledTaskPool):
    """Tasks whose classes are named in words.

    Args:
        name: of the pool.
        tasks: names of task folders below ``path`` (each has ``task.json`` and ``<split>.parquet``, listed in the
            manifest of ``path``), or a mapping of names to ``data`` (a folder or a hub id), ``classes``, ``templates``.
        path: the folder of the tasks, or ``package://mini8``.
        cards: a folder of ``<task>.yaml`` with these fields, for tasks that are named only: ``package://image_tasks``.
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
        cards: str | None = None,
        batch_size: int = BATCH,
        corruptions: Mapping[str, Any] | None = None,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, tasks, path, cards, batch_size, protocol)
        where = f"task pool {name!r}"
        self._corruptions: Corruptions | None = None
        if corruptions is not None:
            if not isinstance(corruptions, Mapping):
                raise FusionBenchError(f"{where}: corruptions is {corruptions!r}", hint="give it names and severities")
            self._corruptions = instantiate(Corruptions, corruptions, where=f"{where}, corruptions")
            require_library()

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        images = require(pool, ImagePool, by=f"task pool {self.name!r}")
        shared: dict[str, Any] = {"manifest": self._manifest, "batch": self._batch, "cache": ImageCache()}
        if self._corruptions is None:
            return {t: ImageTask(t, c, images, **shared) for t, c in self._items()}
        return {t: CorruptedTask(t, c, images, **shared, corruptions=self._corruptions) for t, c in self._items()}

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
