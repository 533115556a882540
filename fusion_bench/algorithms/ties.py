"""TIES: trim, elect sign, disjoint merge; the paper's rules, and those that other tools mean by the name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Density, Scaling, Weights, made, raw_weights
from fusion_bench.weights.election import Combine, Election, Undecided
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.selection import Kept, kept_count, magnitude_cuts, tensor_cuts
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.vectors import Vectors

Scope: TypeAlias = Literal["model", "tensor"]


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
        >>> import torch
        >>> base = {"w": torch.zeros(3)}
        >>> experts = [{"w": torch.tensor([4.0, 1.0, -2.0])}, {"w": torch.tensor([2.0, 0.5, 3.0])}]
        >>> ties(base, experts, density=2 / 3)
        {'w': tensor([3., 0., 3.])}
    """
    chosen = {"weights": weights, "kept": kept, "scope": scope, "combine": combine, "undecided": undecided}
    return made(Ties, density=density, scaling=scaling, **chosen).merge(base, experts)


def trimmed(
    scan: Scan, vectors: Vectors, density: float, *, scope: Scope = "model", kept: Kept = "nearest"
) -> Callable[[Piece], Vectors]:
    """Step 1: the vectors with their largest entries only."""
    vectors = replace(vectors, offsets=scan.offsets)
    if scope == "tensor":
        return lambda piece: replace(vectors, cuts=tensor_cuts(piece, vectors, kept_count(density, piece.count, kept)))
    vectors = replace(vectors, cuts=magnitude_cuts(scan, vectors, kept_count(density, scan.size, kept)))
    return lambda piece: vectors


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

    def prepare(self, scan: Scan) -> Merge:
        experts = Vectors(tuple(range(len(scan.experts))))
        vectors = trimmed(scan, experts, self.density, scope=self.scope, kept=self.kept)
        return Election(vectors, raw_weights(scan, self.weights), self.combine, self.undecided)
