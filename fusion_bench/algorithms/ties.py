"""TIES: trim, elect sign, disjoint merge; the paper's rules, and those that other tools mean by the name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Density, Scaling, Weights, made, raw_weights
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.selection import Kept, kept_count, largest_of_tensor, magnitude_cuts
from fusion_bench.weights.state_dict import Experts, StateDict

Scope: TypeAlias = Literal["model", "tensor"]
Combine: TypeAlias = Literal["mean", "weighted_mean", "sum"]
Undecided: TypeAlias = Literal["majority", "positive"]
Vectors: TypeAlias = Callable[[Piece, int], Tensor]


def ties(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    density: float = 0.2,
    scaling: float = 1.0,
    weights: Sequence[float] | Mapping[str, float] | None = None,
    kept: Kept = "nearest",
    scope: Scope = "model",
    combine: Combine = "mean",
    undecided: Undecided = "majority",
) -> dict[str, Tensor]:
    """Merge task vectors after trimming small entries and settling the sign of each entry.

    1. Trim: of each task vector, taken as a whole, exactly round(density · n) entries of largest magnitude stay; equal
       ones at the threshold stay in order of position (tensors by name, entries row-major).
    2. Elect: each entry's sign is that of the trimmed sum Σᵢ Δᵢ ("mass"). A sum of zero takes the majority sign of the
       elected entries of the whole model; if that is balanced too, the entry is not moved.
    3. Disjoint mean: the mean of the trimmed entries that have the elected sign.

    θ = θ₀ + λ · that.

    Args:
        base: θ₀.
        experts: θᵢ.
        density: share of entries kept per expert, in (0, 1].
        scaling: λ, any finite number.
        weights: wᵢ of step 3, in the order of ``experts`` or by name; 1 each when ``None``.
        kept: how density · n becomes a whole number: the ``nearest`` (step 1), the one ``below``, ⌊density · n⌋
            (mergekit, peft), or the one ``above`` that (the published fusion-bench, where magnitudes differ).
        scope: ``model`` is step 1; ``tensor`` trims each tensor by itself (mergekit, peft).
        combine: of the entries that have the elected sign: ``mean`` is Σ wᵢ Δᵢ / count (step 3; peft);
            ``weighted_mean`` is Σ wᵢ Δᵢ / Σ wᵢ, with signs elected from Σ wᵢ Δᵢ (mergekit); ``sum`` is Σ wᵢ Δᵢ (the
            published fusion-bench).
        undecided: a sum of zero takes the ``majority`` sign (step 2) or is ``positive`` (mergekit, peft).

    Source: Yadav et al. 2023, "TIES-Merging", arXiv 2306.01708.

    Example:
        >>> base = {"w": torch.zeros(3)}
        >>> experts = [{"w": torch.tensor([4.0, 1.0, -2.0])}, {"w": torch.tensor([2.0, 0.5, 3.0])}]
        >>> ties(base, experts, density=2 / 3)
        {'w': tensor([3., 0., 3.])}
    """
    chosen = {"weights": weights, "kept": kept, "scope": scope, "combine": combine, "undecided": undecided}
    return made(Ties, density=density, scaling=scaling, **chosen).merge(base, experts)


def trimmed(
    scan: Scan, density: float, *, scope: Scope = "model", kept: Kept = "nearest", vectors: Vectors | None = None
) -> Vectors:
    """Step 1: the task vectors with their largest entries only, as a function of piece and expert."""

    def whole(piece: Piece, expert: int) -> Tensor:
        return piece.delta(expert) if vectors is None else vectors(piece, expert)

    if scope == "tensor":
        return lambda piece, expert: largest_of_tensor(whole(piece, expert), kept_count(density, piece.count, kept))
    cuts = magnitude_cuts(scan, kept_count(density, scan.size, kept), vectors)
    return lambda piece, expert: cuts[expert].trim(whole(piece, expert), piece, scan.offsets)


class Election:
    """Steps 2 and 3 on trimmed task vectors, piece by piece.

    An entry whose sum is exactly zero waits for the majority sign of the whole model: its piece is deferred.
    """

    def __init__(self, vectors: Vectors, weights: Sequence[float], combine: Combine, undecided: Undecided) -> None:
        self._vectors, self._weights, self._combine, self._undecided = vectors, weights, combine, undecided
        self._balance, self._lock = 0, threading.Lock()
        self._majority: float | None = 1.0 if undecided == "positive" else None

    def __call__(self, piece: Piece) -> Tensor:
        deltas = [self._vectors(piece, expert) for expert in range(len(piece.experts))]
        if self._combine == "weighted_mean":
            deltas = [delta * w for delta, w in zip(deltas, self._weights, strict=True)]
        sign = elect(deltas)
        if self._majority is None:
            if cancelled(deltas, sign).any():
                piece.defer()
            with self._lock:
                self._balance += int(sign.sum())
        elif self._majority:
            sign = torch.where(sign == 0, self._majority, sign)
        if self._combine == "weighted_mean":
            total, weight = disjoint_sum(deltas, sign), disjoint_weight(deltas, sign, self._weights)
            return total / torch.where(weight == 0, 1.0, weight)
        total, count = disjoint_sum_and_count(deltas, sign)
        if any(weight != 1 for weight in self._weights):  # after the election: only sizes are weighted
            total = disjoint_sum([d * w for d, w in zip(deltas, self._weights, strict=True)], sign)
        return total.div_(count.clamp_min_(1)) if self._combine == "mean" else total

    def settle(self) -> None:
        """All pieces have voted: the majority is known."""
        self._majority = float((self._balance > 0) - (self._balance < 0))


def elect(deltas: Sequence[Tensor]) -> Tensor:
    """The sign of the summed entries: −1, 0 or 1.

    Example:
        >>> elect([torch.tensor([1.0, -1.0, 2.0]), torch.tensor([-3.0, 1.0, 0.0])])
        tensor([-1.,  0.,  1.])
    """
    total = deltas[0].clone()
    for delta in deltas[1:]:
        total += delta
    return total.sign_()


def cancelled(deltas: Sequence[Tensor], sign: Tensor) -> NDArray[np.bool_]:
    """Where entries that are not all zero sum to zero.

    Example:
        >>> one, other = torch.tensor([1.0, 0.0, 1.0]).double(), torch.tensor([-1.0, 0.0, 1.0]).double()
        >>> cancelled([one, other], elect([one, other]))
        array([ True, False, False])
    """
    bits = deltas[0].view(torch.int64).clone()
    for delta in deltas[1:]:
        bits |= delta.view(torch.int64)
    bits <<= 1  # without the sign: −0.0 is zero
    # NumPy's comparisons: torch's take ten times as long here
    both: NDArray[np.bool_] = (sign.cpu().numpy() == 0) & (bits.cpu().numpy() != 0)
    return both


def disjoint_sum_and_count(deltas: Sequence[Tensor], sign: Tensor) -> tuple[Tensor, Tensor]:
    """The sum, entry by entry, over those tensors that have the given sign there, and how many those are.

    Example:
        >>> one, other = torch.tensor([1.0, -1.0]), torch.tensor([3.0, 2.0])
        >>> disjoint_sum_and_count([one, other], torch.ones(2))
        (tensor([4., 2.]), tensor([2., 1.]))
    """
    low, high = _bounds(sign)
    total, count = torch.zeros_like(sign), torch.zeros_like(sign)
    for delta in deltas:
        agreeing = torch.clamp(delta, low, high)
        total += agreeing
        count += agreeing.sign_()
    return total, count.abs_()


def disjoint_sum(deltas: Sequence[Tensor], sign: Tensor) -> Tensor:
    """The sum, entry by entry, over those tensors that have the given sign there.

    Example:
        >>> disjoint_sum([torch.tensor([1.0, -1.0]), torch.tensor([3.0, 2.0])], torch.tensor([1.0, -1.0]))
        tensor([ 4., -1.])
    """
    low, high = _bounds(sign)
    total = torch.zeros_like(sign)
    for delta in deltas:
        total += torch.clamp(delta, low, high)
    return total


def disjoint_weight(deltas: Sequence[Tensor], sign: Tensor, weights: Sequence[float]) -> Tensor:
    """The sum, entry by entry, of the weights of those tensors that have the given sign there.

    Example:
        >>> disjoint_weight([torch.tensor([1.0, -1.0]), torch.tensor([3.0, 2.0])], torch.ones(2), [0.5, 2.0])
        tensor([2.5000, 2.0000])
    """
    low, high = _bounds(sign)
    total = torch.zeros_like(sign)
    for delta, weight in zip(deltas, weights, strict=True):
        total += torch.clamp(delta, low, high).sign_().abs_().mul_(weight)
    return total


def _bounds(sign: Tensor) -> tuple[Tensor, Tensor]:
    """Between which an entry has the given sign or is nothing: one clamp where masks would take four operations."""
    largest = torch.finfo(sign.dtype).max
    bound = sign * largest
    return bound.clamp_max(0), bound.clamp_min(0)


@dataclass(frozen=True, kw_only=True)
class Ties(TaskVectorAlgorithm):
    """Trim, elect sign, disjoint mean. See :func:`ties`."""

    density: Density = 0.2
    scaling: Scaling = 1.0
    weights: Weights = None
    kept: Kept = "nearest"
    scope: Scope = "model"
    combine: Combine = "mean"
    undecided: Undecided = "majority"

    def passes(self) -> int:
        return 2 if self.scope == "model" and self.density < 1 else 1

    def whole(self, shape: Sequence[int]) -> bool:
        return self.scope == "tensor"

    def held(self, experts: int) -> int:
        return 2 * experts + 6  # all task vectors, before and after the weights, and what the election needs

    def prepare(self, scan: Scan) -> Merge:
        vectors = trimmed(scan, self.density, scope=self.scope, kept=self.kept)
        return Election(vectors, raw_weights(scan, self.weights), self.combine, self.undecided)
