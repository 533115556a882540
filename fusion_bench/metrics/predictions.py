"""What a model said about the examples of one task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """Arrays of equal length, one entry an example.

    ``index`` int64 (position in the split), ``label`` and ``prediction`` int64, ``confidence`` float32 (probability of
    the prediction), ``loss`` float64 (cross-entropy in nats); ``cluster`` names the source that an example shares with
    others (a writer, a font family), None where each stands for itself.

    Example:
        >>> two = np.arange(2)
        >>> p = Predictions("t", two, np.array([1, 1]), np.array([1, 0]), np.ones(2), np.zeros(2))
        >>> p.accuracy, p.correct.tolist()
        (0.5, [True, False])
    """

    task: str
    index: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray
    cluster: np.ndarray | None = None

    @property
    def correct(self) -> np.ndarray:
        """bool ``(n,)``."""
        return self.prediction == self.label

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return float(self.correct.mean())

    @property
    def digest(self) -> str:
        """Of the examples' positions and predictions: the same where every prediction is."""
        both = np.stack([self.index, self.prediction]).astype("<i8")
        return hashlib.sha256(both.tobytes()).hexdigest()[:32]
