"""Tasks that a model answers through a head: texts, or pairs of texts, to class scores or to a number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.scores import SPEARMAN
from fusion_bench.modelpools.text_models import ClassifierPool
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.labelled.classes import check_order
from fusion_bench.taskpools.text.config import TextTaskConfig
from fusion_bench.taskpools.text.examples import TextExamples, by_length
from fusion_bench.taskpools.text.numbers import NumericTask


class _HeadedTask(TextExamples):
    """Texts through a backbone and the head of the task's expert, which is opened when it is first used.

    Args:
        task: its name, and that of the expert whose head it has.
        config: of its card.
        pool: of the backbones and heads.
        batch: examples a step.

    Raises:
        FusionBenchError: no expert of the task's name, or a head for something else.
    """

    def __init__(self, task: str, config: TextTaskConfig, pool: ClassifierPool, *, batch: int) -> None:
        super().__init__(task, config, batch=batch)
        self._pool = pool
        self._check_head(pool.head_size(task))

    def _check_head(self, size: int) -> None:
        """Refuse a head that gives more or fewer numbers an example than the task asks for."""
        ordered = self.config.metric == SPEARMAN
        if size != (1 if ordered else len(self.classes)):
            gives = "gives one number an example" if size == 1 else f"scores {size} classes"
            wants = f"is scored by {SPEARMAN} and wants one number" if ordered else f"has {len(self.classes)}"
            raise FusionBenchError(
                f"the head of {self.task!r} in pool {self._pool.name!r} {gives}, the task {wants}",
                hint="the expert was trained on another task, or its data has other labels; see num_labels (id2label) "
                "in its config.json",
            )

    def encoded(self, texts: Mapping[str, list[str]]) -> Mapping[str, Tensor]:
        return self._pool.tokens(*texts.values())


class ClassificationTask(_HeadedTask):
    """Classes through a head; see `_HeadedTask`. Names that the head gives them must be the task's, in its order."""

    def _check_head(self, size: int) -> None:
        super()._check_head(size)
        labels = self._pool.head_labels(self.task)
        if labels:
            check_order(self.classes, labels, task=self.task, data=f"the head of {self._pool.name!r}")

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Class scores ``(b, classes)`` of a backbone, through the head of the task.

        Raises:
            FusionBenchError: the expert's weights have no such head.
        """
        head = self._pool.head(self.task)
        return by_length(batch, lambda tokens: head(model, tokens))


class RegressionTask(_HeadedTask, NumericTask):
    """A number through a head, as it is: its scale does not count, its order does."""

    def said(self, model: nn.Module, tokens: Mapping[str, Tensor]) -> Tensor:
        return self._pool.head(self.task)(model, tokens).squeeze(-1)

    def settled(self, said: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        finite = np.isfinite(said)
        if not finite.all():
            raise FusionBenchError(
                f"the model gives {int((~finite).sum())} of {len(said)} examples of {self.task!r} a number that is not "
                "finite",
                hint="fused weights that are too large overflow: try a smaller scaling",
            )
        return said, {}
