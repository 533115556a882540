"""DARE (drop and rescale) before task arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, TypeAlias

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Density, Scaling, Seed, made
from fusion_bench.weights.masks import bernoulli_mask
from fusion_bench.weights.pieces import Piece, ordered_sum
from fusion_bench.weights.reduction import per_entry, tensor_sums
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.state_dict import Experts, StateDict

Rescale: TypeAlias = Literal["density", "l1"]
"""What the surviving entries are multiplied with: 1/density, which keeps the mean over masks, or for each tensor
whatever keeps the sum of its magnitudes (mergekit's rule)."""


def dare_task_arithmetic(
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    density: float = 0.5,
    scaling: float = 0.3,
    rescale: Rescale = "density",
    seed: int = 0,
) -> dict[str, Tensor]:
    """Task arithmetic on randomly thinned task vectors, θ = θ₀ + λ Σᵢ mᵢ ⊙ Δᵢ / density with mᵢ ~ Bernoulli(density).

    Args:
        base: θ₀.
        experts: θᵢ; their names key the masks (positions do, for a sequence).
        density: chance that an entry stays, in (0, 1]: one minus the paper's drop rate p.
        scaling: λ, any finite number.
        rescale: ``density`` divides what stays by the density; ``l1`` multiplies what stays of a tensor by
            ‖Δᵢ‖₁ / ‖mᵢ ⊙ Δᵢ‖₁, as mergekit does.
        seed: of the masks, which depend on (seed, expert, tensor name, entry) and nothing else.

    Source: Yu et al. 2024, "Language models are super Mario", arXiv 2311.03099.

    Example:
        >>> import torch
        >>> dare_task_arithmetic({"w": torch.zeros(6)}, [{"w": torch.ones(6)}], density=0.5, scaling=1.0)["w"].unique()
        tensor([0., 2.])
    """
    return made(DareTaskArithmetic, density=density, scaling=scaling, rescale=rescale, seed=seed).merge(base, experts)


def thinned(scan: Scan, *, density: float, seed: int, rescale: Rescale = "density") -> Callable[[Piece, int], Tensor]:
    """The task vectors with entries dropped at random and the others rescaled, as a function of piece and expert."""
    if rescale == "density":
        return lambda piece, expert: dropped(piece, expert, density=density, seed=seed).div_(density)

    def magnitudes(piece: Piece) -> list[Tensor]:
        before = [piece.delta(i).abs_() for i in range(len(scan.experts))]
        return [*before, *(dropped(piece, i, density=density, seed=seed).abs_() for i in range(len(scan.experts)))]

    sums, count = tensor_sums(scan, magnitudes, "measure task vectors"), len(scan.experts)
    factors = [{name: s[i] / s[count + i] if s[count + i] else 0.0 for name, s in sums.items()} for i in range(count)]

    def rescaled(piece: Piece, expert: int) -> Tensor:
        kept = dropped(piece, expert, density=density, seed=seed)
        return kept.mul_(per_entry(piece, factors[expert], kept.device))

    return rescaled


def dropped(piece: Piece, expert: int, *, density: float, seed: int) -> Tensor:
    """Δᵢ with entries dropped at random, not rescaled."""
    delta, name = piece.delta(expert), piece.experts[expert]
    masks = [
        bernoulli_mask(stop - start, density, seed=seed, expert=name, tensor=tensor, start=start)
        for tensor, start, stop in piece.spans
    ]
    mask = masks[0] if len(masks) == 1 else torch.cat(masks)
    # by way of int8: torch's operations on bool and float64 take ten times as long
    return delta.mul_(mask.view(torch.int8).to(delta.device).double())


@dataclass(frozen=True, kw_only=True)
class DareTaskArithmetic(TaskVectorAlgorithm):
    """Task arithmetic on randomly thinned task vectors. See :func:`dare_task_arithmetic`."""

    random: ClassVar[bool] = True

    density: Density = 0.5
    scaling: Scaling = 0.3
    rescale: Rescale = "density"
    seed: Seed = 0

    def passes(self) -> int:
        return 2 if self.rescale == "l1" else 1

    def prepare(self, scan: Scan) -> Merge:
        vectors = thinned(scan, density=self.density, seed=self.seed, rescale=self.rescale)
        return lambda piece: ordered_sum(len(scan.experts), lambda expert: vectors(piece, expert))
