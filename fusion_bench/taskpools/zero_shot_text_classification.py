"""Zero-shot classification of texts: texts against the frozen features of the class names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.needed import require
from fusion_bench.modelpools.zero_shot import TextPool
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.labelled import LabelledTaskPool
from fusion_bench.taskpools.zero_shot.texts import TextTask

BATCH = 256


class ZeroShotTextClassification(LabelledTaskPool):
    """Tasks of texts whose classes are named in words; see ``LabelledTaskPool``."""

    def __init__(
        self,
        name: str,
        tasks: list[str] | dict[str, Any],
        path: str | None = None,
        cards: str | None = None,
        batch_size: int = BATCH,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, tasks, path, cards, batch_size, protocol)

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        texts = require(pool, TextPool, by=f"task pool {self.name!r}")
        return {t: TextTask(t, c, texts, manifest=self._manifest, batch=self._batch) for t, c in self._items()}
