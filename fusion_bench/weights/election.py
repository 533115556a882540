"""Electing the sign of each entry, and what the vectors that have it come to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from fusion_bench.weights import compiled
from fusion_bench.weights.compiled import elections
from fusion_bench.weights.pieces import CHUNK, Piece
from fusion_bench.weights.vectors import Vectors

Combine: TypeAlias = Literal["mean", "weighted_mean", "sum"]
Undecided: TypeAlias = Literal["majority", "positive"]

_CODES = {"mean": elections.MEAN, "weighted_mean": elections.WEIGHTED_MEAN, "sum": elections.SUM}


class Elected(NamedTuple):
    """A merged piece.

    Attributes:
        entries: ``float64``.
        balance: positive less negative signs, not counting the undecided.
        cancelled: whether entries that are not all zero sum to zero anywhere.
    """

    entries: Tensor
    balance: int
    cancelled: bool


def elected(
    vectors: Vectors, piece: Piece, weights: Sequence[float], combine: Combine = "mean", undecided: float = 0.0
) -> Elected:
    """Per entry the sign of Σᵢ vᵢ, and of those vᵢ that have it, with wᵢ their weights,

    - ``mean``: Σ wᵢ vᵢ / count;
    - ``weighted_mean``: Σ wᵢ vᵢ / Σ wᵢ, with the sign of Σᵢ wᵢ vᵢ over all;
    - ``sum``: Σ wᵢ vᵢ.

    Args:
        vectors: vᵢ.
        piece: where.
        weights: wᵢ.
        combine: one of the three.
        undecided: the sign where the sum is zero: −1, 0 (the result is zero) or 1.
    """
    if piece.on_cpu:
        found = np.empty(piece.count)
        kind, given = _CODES[combine], np.array(weights, dtype=np.float64)
        balance, cancelled = compiled.elect(vectors.terms(piece), given, kind, undecided, found)
        return Elected(torch.from_numpy(found), int(balance), bool(cancelled))
    entries = [vectors.entries(piece, at) for at in range(len(vectors.models))]
    if combine == "weighted_mean":
        entries = [entry * weight for entry, weight in zip(entries, weights, strict=True)]
    total = entries[0].clone()
    for entry in entries[1:]:
        total += entry
    sign, zero = total.sign(), total == 0
    cancelled = any(bool((zero & (entry != 0)).any()) for entry in entries)
    balance = int(sign.nan_to_num().sum())
    sign[zero] = undecided
    merged, size = torch.zeros_like(total), torch.zeros_like(total)
    for entry, weight in zip(entries, weights, strict=True):
        agrees = entry.sign() * sign > 0
        merged += torch.where(agrees, entry if combine == "weighted_mean" else entry * weight, 0.0)
        size += agrees.double() * (weight if combine == "weighted_mean" else 1.0)
    if combine != "sum":
        merged /= torch.where(size == 0, 1.0, size)
    return Elected(torch.where(total.isnan(), total, merged), balance, cancelled)


class Election:
    """``elected`` for the pieces of a whole model, as the merge of a rule.

    An entry whose sum is exactly zero takes the majority sign of the whole model, which is known at the end only. Until
    then its piece is merged with the majority so far, and deferred: merged once more if that was not to last. In
    ``bfloat16`` nearly every piece has such entries, and the majority of the first few is mostly that of all.
    """

    def __init__(
        self,
        vectors: Callable[[Piece], Vectors],
        weights: Sequence[float],
        combine: Combine = "mean",
        undecided: Undecided = "majority",
    ) -> None:
        self._vectors, self._weights, self._combine = vectors, weights, combine
        self._balance, self._lock = 0, threading.Lock()
        self._sign: float | None = 1.0 if undecided == "positive" else None

    def __call__(self, piece: Piece) -> Tensor:
        vectors = self._vectors(piece)
        sign = _majority(self._balance) if self._sign is None else self._sign
        return piece.by_parts(lambda part: self._elect(vectors, part, piece, sign), CHUNK)

    def _elect(self, vectors: Vectors, part: Piece, piece: Piece, sign: float) -> Tensor:
        found = elected(vectors, part, self._weights, self._combine, sign)
        if self._sign is None:
            if found.cancelled:
                piece.defer(sign)
            with self._lock:
                self._balance += found.balance
        return found.entries

    def settle(self) -> float:
        """All pieces have voted: the majority is known, and returned."""
        self._sign = _majority(self._balance)
        return self._sign


def _majority(balance: int) -> float:
    return float((balance > 0) - (balance < 0))
