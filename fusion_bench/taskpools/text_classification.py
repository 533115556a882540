"""Tasks of texts seen through heads: a fused backbone, and for each task the head of its expert."""

from __future__ import annotations

from fusion_bench.metrics.scores import SPEARMAN
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.needed import require
from fusion_bench.modelpools.text_models import ClassifierPool
from fusion_bench.taskpools.base import TaskAdapter
from fusion_bench.taskpools.text import ClassificationTask, RegressionTask, TextTaskConfig, TextTaskPool


class TextClassification(TextTaskPool):
    """Tasks of texts, or pairs of texts, with a head each; see ``TextTaskPool``.

    A card with ``metric: spearman`` wants a head of one number, which is scored by its order; the others one of their
    classes. Either is checked when the tasks are bound to a model pool.
    """

    def bind(self, pool: ModelPool) -> dict[str, TaskAdapter]:
        models = require(pool, ClassifierPool, by=f"task pool {self.name!r}")
        return {task: _kind(config)(task, config, models, batch=self._batch) for task, config in self._configs.items()}

    def _metrics(self) -> tuple[str, ...]:
        return ("accuracy", SPEARMAN)


def _kind(config: TextTaskConfig) -> type[ClassificationTask] | type[RegressionTask]:
    return RegressionTask if config.metric == SPEARMAN else ClassificationTask
