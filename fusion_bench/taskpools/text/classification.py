"""Tasks that a model answers through a head: texts, or pairs of texts, to class scores."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.text_models import ClassifierPool
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.labelled.classes import check_order
from fusion_bench.taskpools.text.config import TextTaskConfig
from fusion_bench.taskpools.text.examples import TextExamples, by_length


class ClassificationTask(TextExamples):
    """Texts through a backbone and the head of the task's expert; the head is opened when it is first used.

    Args:
        task: its name, and that of the expert whose head it has.
        config: of its card.
        pool: of the backbones and heads.
        batch: examples a step.
    """

    def __init__(self, task: str, config: TextTaskConfig, pool: ClassifierPool, *, batch: int) -> None:
        super().__init__(task, config, batch=batch)
        self._pool = pool
        self._checked = False

    def encoded(self, texts: Mapping[str, list[str]]) -> Mapping[str, Tensor]:
        return self._pool.tokens(*texts.values())

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Class scores ``(b, classes)`` of a backbone, through the head of the task.

        Raises:
            FusionBenchError: no expert of the task's name, or a head of other classes.
        """
        if not self._checked:
            labels = self._pool.head_labels(self.task)
            if labels:
                check_order(self.classes, labels, task=self.task, data=f"the head of {self._pool.name!r}")
            self._checked = True
        head = self._pool.head(self.task)
        scores = by_length(batch, lambda tokens: head(model, tokens))
        if scores.shape[-1] != len(self.classes):
            raise FusionBenchError(
                f"the head of {self.task!r} in pool {self._pool.name!r} scores {scores.shape[-1]} classes, the task "
                f"has {len(self.classes)}",
                hint="the expert was trained on another task, or its data has other classes",
            )
        return scores
