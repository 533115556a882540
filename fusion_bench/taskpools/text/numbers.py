"""Tasks whose answer is a number, scored by how it orders the examples; and models that write it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import closing

import numpy as np
import torch
from torch import Tensor, nn

from fusion_bench.datasets.stored import ADAPTATION
from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.predictions import Predictions
from fusion_bench.metrics.scores import SPEARMAN, pearson, spearman_scores
from fusion_bench.modelpools.text_models import Seq2SeqPool
from fusion_bench.progress import Counted, uncounted
from fusion_bench.taskpools.ahead import ahead
from fusion_bench.taskpools.base import ScoredTask
from fusion_bench.taskpools.steps import Steps
from fusion_bench.taskpools.text.config import TextTaskConfig
from fusion_bench.taskpools.text.examples import TextExamples, by_length
from fusion_bench.taskpools.text.generation import written

NO_NUMBER = 0.0  # what a text that is no number counts as, as in published tables of STS-B


class NumericTask(TextExamples, ScoredTask):
    """Examples with a number as the label: Spearman's ρ of what a model says and the labels.

    A subclass says how a model says a number. Scores of examples are those of `metrics.scores.spearman_scores`; beside
    them stand ``pearson``, and ``pearson_spearman``, the mean of both, which is GLUE's own figure for STS-B.
    """

    metric = SPEARMAN

    @abstractmethod
    def said(self, model: nn.Module, tokens: Mapping[str, Tensor]) -> Tensor:
        """What a model says of some inputs: floating ``(b,)``, NaN where that is no number."""

    @abstractmethod
    def settled(self, said: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        """What counts of all that was said of a split, finite float64 ``(n,)``; and more measures of it, by name."""

    @property
    def _label_column(self) -> str | None:
        return None  # labels of a split are classes

    def labels(self, split: str) -> Tensor:
        raise self._without("labels of classes")

    def truth(self, split: str) -> np.ndarray:
        """The numbers of a split, float64 ``(n,)``.

        Raises:
            FusionBenchError: the split has none, or a label that is no number.
        """
        data, column = self._split(split).data, self.config.label_column
        if split == ADAPTATION or column not in data.column_names:
            raise FusionBenchError(
                f"split {split!r} of {self.task} has no labels", hint="use train, validation or test"
            )
        try:
            found = np.asarray(data[column][:], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise FusionBenchError(
                f"column {column!r} of {self.config.data} holds labels that are no numbers"
            ) from error
        if not np.isfinite(found).all():
            raise FusionBenchError(
                f"label {int(np.argmin(np.isfinite(found)))} in column {column!r} of {self.config.data} is not finite"
            )
        return found

    def predictions(
        self, model: nn.Module, split: str, *, device: str, steps: Steps, counted: Counted = uncounted
    ) -> Predictions:
        truth = self.truth(split)
        parts: list[Tensor] = []
        with closing(ahead(self.inputs(split))) as batches:
            for batch in batches:
                doing = f"evaluating {self.task!r}"
                parts.append(
                    steps.run(lambda part: by_length(part, lambda t: self.said(model, t)), batch, device, doing=doing)
                )
                counted(sum(map(len, parts)))
        numbers, more = self.settled(torch.cat(parts).double().numpy())
        scores, linear = spearman_scores(numbers, truth), pearson(numbers, truth)
        extra = {"pearson": linear, "pearson_spearman": (linear + float(scores.mean())) / 2, **more}
        return Predictions.of_scores(self.task, self.metric, scores, extra=extra, cluster=self.clusters(split))


class NumberTask(NumericTask):
    """Prompts made of an example's columns, and a number that a model writes; ``no_number`` is the share of texts that
    are none.

    Args:
        task: its name.
        config: of its card, with ``template``.
        pool: whose models answer.
        batch: examples a step.
        max_new_tokens: that a model may write.

    Raises:
        FusionBenchError: no template.
    """

    def __init__(
        self, task: str, config: TextTaskConfig, pool: Seq2SeqPool, *, batch: int, max_new_tokens: int
    ) -> None:
        super().__init__(task, config, batch=batch)
        if config.template is None:
            raise FusionBenchError(f"{task!r} has no template", hint="a prompt with columns in braces")
        self._pool, self._most = pool, max_new_tokens

    def encoded(self, texts: Mapping[str, list[str]]) -> Mapping[str, Tensor]:
        return self._pool.tokens(self.config.prompts(texts))

    def said(self, model: nn.Module, tokens: Mapping[str, Tensor]) -> Tensor:
        numbers = [number(text) for text in written(model, tokens, self._pool, self._most)]
        return torch.tensor([math.nan if found is None else found for found in numbers], dtype=torch.float64)

    def settled(self, said: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        none = np.isnan(said)
        return np.where(none, NO_NUMBER, said), {"no_number": float(none.mean())}


def number(text: str) -> float | None:
    """What a text says when it is a number, blanks around it aside; else None.

    Example:
        >>> number(" 3.8"), number("about 3"), number("nan")
        (3.8, None, None)
    """
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
