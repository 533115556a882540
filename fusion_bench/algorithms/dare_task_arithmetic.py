"""DARE (drop and rescale) before task arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Density, Scaling, Seed, made
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.reduction import tensor_sums
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.vectors import Thinning, Vectors

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


def thinned(scan: Scan, *, density: float, seed: int, rescale: Rescale = "density") -> Vectors:
    """The task vectors with entries dropped at random and the others rescaled."""
    experts = Vectors(tuple(range(len(scan.experts))))
    dropped = replace(experts, thinning=Thinning(density, seed))
    if rescale == "density":
        return replace(dropped, factors=tuple(1 / density for _ in scan.experts))

    def magnitudes(piece: Piece) -> NDArray[np.float64]:
        return np.hstack([experts.magnitude_sums(piece), dropped.magnitude_sums(piece)])

    sums, count = tensor_sums(scan, magnitudes, "measure task vectors"), len(scan.experts)
    factors = ({name: s[i] / s[count + i] if s[count + i] else 0.0 for name, s in sums.items()} for i in range(count))
    return replace(dropped, factors=tuple(factors))


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
        return thinned(scan, density=self.density, seed=self.seed, rescale=self.rescale).total
