"""Task arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Scaling, made
from fusion_bench.weights.rule import Merge, Scan
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.vectors import Vectors


def task_arithmetic(
    base: StateDict, experts: Experts | Sequence[StateDict], *, scaling: float = 0.3
) -> dict[str, Tensor]:
    """The base plus the scaled sum of the task vectors, θ = θ₀ + λ Σᵢ Δᵢ with Δᵢ = θᵢ − θ₀.

    Args:
        base: θ₀.
        experts: θᵢ.
        scaling: λ, any finite number; 1/T makes the average of T experts, negative values forget.

    Source: Ilharco et al. 2023, "Editing models with task arithmetic", arXiv 2212.04089.

    Example:
        >>> import torch
        >>> task_arithmetic({"w": torch.ones(1)}, [{"w": torch.tensor([3.0])}, {"w": torch.tensor([5.0])}], scaling=0.5)
        {'w': tensor([4.])}
    """
    return made(TaskArithmetic, scaling=scaling).merge(base, experts)


@dataclass(frozen=True, kw_only=True)
class TaskArithmetic(TaskVectorAlgorithm):
    """The base plus the scaled sum of the task vectors. See :func:`task_arithmetic`."""

    scaling: Scaling = 0.3

    def prepare(self, scan: Scan) -> Merge:
        return Vectors(tuple(range(len(scan.experts)))).total
