"""Tasks of texts seen through heads: a fused backbone, and for each task the head of its expert."""

from __future__ import annotations

from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.needed import require
from fusion_bench.modelpools.text_models import ClassifierPool
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.text import ClassificationTask, TextTaskPool


class TextClassification(TextTaskPool):
    """Tasks of texts, or pairs of texts, with a head each; see ``TextTaskPool``."""

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        models = require(pool, ClassifierPool, by=f"task pool {self.name!r}")
        return {task: ClassificationTask(task, c, models, batch=self._batch) for task, c in self._configs.items()}
