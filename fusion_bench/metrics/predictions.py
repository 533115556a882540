"""What a model said about the examples of one task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fusion_bench.errors import FusionBenchError

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Predictions:
    """Arrays of equal length, one entry an example.

    ``index`` int64 (position in the split), ``label`` and ``prediction`` int64, ``confidence`` float32 (probability of
    the prediction), ``loss`` float64 (cross-entropy in nats), the last two None where a task has none; ``cluster``
    names the source that an example shares with others (a writer, a font family), None where each stands for itself.

    ``metric`` is what the task is scored by. Where that is no question of right and wrong, ``score`` float64 says what
    each example adds to it, so that its mean is the metric (see ``metrics.scores``), and there are no classes: labels
    and predictions are -1. ``extra`` holds other measures of the same outputs, by name.

    Example:
        >>> two = np.arange(2)
        >>> p = Predictions("t", two, np.array([1, 1]), np.array([1, 0]), np.ones(2), np.zeros(2))
        >>> p.value, p.correct.tolist()
        (0.5, [True, False])
    """

    task: str
    index: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray | None
    loss: np.ndarray | None
    cluster: np.ndarray | None = None
    score: np.ndarray | None = None
    metric: str = ACCURACY
    extra: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_scores(
        cls,
        task: str,
        metric: str,
        score: np.ndarray,
        *,
        extra: Mapping[str, float],
        cluster: np.ndarray | None = None,
    ) -> Predictions:
        """Those of a task without classes: a score an example, in the order of the split.

        Example:
            >>> Predictions.of_scores("depth", "delta1", np.array([0.5, 1.0]), extra={}).value
            0.75
        """
        classless = np.full(len(score), -1)
        return cls(
            task, np.arange(len(score)), classless, classless, None, None, cluster, score=score, metric=metric,
            extra=extra,
        )  # fmt: skip

    @property
    def correct(self) -> np.ndarray:
        """bool ``(n,)``.

        Raises:
            FusionBenchError: the task is not scored by right and wrong.
        """
        if self.score is not None:
            raise FusionBenchError(f"{self.task!r} is scored by {self.metric}: no example is simply right or wrong")
        return self.prediction == self.label

    @property
    def outcome(self) -> np.ndarray:
        """What each example adds to the metric: bool ``(n,)``, right or wrong; or float64 ``(n,)``, its score."""
        return self.correct if self.score is None else self.score

    @property
    def value(self) -> float:
        """The task's metric: the mean of `outcome`, which is the share of correct predictions where there are any."""
        return float(self.outcome.mean())

    @property
    def mean_loss(self) -> float:
        """In nats.

        Raises:
            FusionBenchError: the task has no losses.
        """
        if self.loss is None:
            raise FusionBenchError(f"{self.task!r} has no losses: it is scored by {self.metric}")
        return float(self.loss.mean())

    @property
    def digest(self) -> str:
        """Of the examples' positions and what was said of them: the same where every prediction is."""
        both = [self.index.astype("<i8"), self.prediction.astype("<i8")]
        scores = [] if self.score is None else [self.score.astype("<f8")]
        return hashlib.sha256(b"".join(array.tobytes() for array in both + scores)).hexdigest()[:32]
