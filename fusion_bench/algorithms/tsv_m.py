"""TSV-M: merging of task singular vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Scaling, checked
from fusion_bench.weights.spectral import leading_singular_vectors, matrix_shape, polar
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.task_vectors import TaskVectors, add_task_vector, mean


def tsv_m(
    base: StateDict, experts: Experts | Sequence[StateDict], *, scaling: float = 1.0, kernels: bool = True
) -> dict[str, Tensor]:
    """Merge the leading singular directions of the task vectors' matrices, made orthogonal between tasks.

    For a matrix (m, n) of T task vectors Δᵢ = Uᵢ Sᵢ Vᵢᵀ, keep the r = max(1, ⌊min(m, n) / T⌋) leading directions of
    each, put them side by side, U = [U₁ … U_T] and V = [V₁ … V_T], replace both by their polar factors (the nearest
    orthonormal ones) and multiply out: M = polar(U) · diag(S₁ … S_T) · polar(V)ᵀ. θ = θ₀ + λ M.

    Every other tensor takes λ times the mean of the task vectors. Matrices are 2-D weights, as in the authors' code,
    and dense convolution kernels as (out, in·k·k) unless ``kernels`` is false, which averages them as the authors'
    code does. Vectors, depthwise kernels, and whatever has one row or one column are always averaged.

    Directions without a singular value are left out, and where tasks share directions the polar factor is the partial
    isometry on what they span, so the result is unique: T copies of one Δ of rank r or less give Δ.

    Args:
        base: θ₀.
        experts: θᵢ.
        scaling: λ, any finite number.
        kernels: treat dense convolution kernels as matrices.

    Source: Gargiulo et al. 2025, "Task singular vectors", arXiv 2412.00081.

    Example:
        >>> base = {"w": torch.zeros(2, 2)}
        >>> one, two = torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, -2.0]])
        >>> (tsv_m(base, [{"w": one}, {"w": two}])["w"] + 0.0).tolist()  # disjoint directions come back unharmed
        [[3.0, 0.0], [0.0, -2.0]]
    """
    scaling = checked("scaling", scaling, Scaling)
    return add_task_vector(base, orthogonalized(TaskVectors.of(base, experts), kernels=kernels), scaling=scaling)


def orthogonalized(vectors: TaskVectors, *, kernels: bool = True) -> dict[str, Tensor]:
    """The merged task vector of :func:`tsv_m`.

    Example:
        >>> orthogonalized(TaskVectors.of({"w": torch.zeros(1)}, [{"w": torch.ones(1)}]))
        {'w': tensor([1.], dtype=torch.float64)}
    """

    def rule(name: str, deltas: list[Tensor]) -> Tensor:
        shape = matrix_shape(deltas[0].shape, kernels=kernels)
        if shape is None:
            return mean(deltas)
        return merge_singular_vectors([delta.reshape(shape) for delta in deltas]).reshape(deltas[0].shape)

    return vectors.merge(rule)


def merge_singular_vectors(deltas: Sequence[Tensor]) -> Tensor:
    """The formula of :func:`tsv_m` for one matrix: T ``float64`` tensors (m, n) to one.

    Example:
        >>> merge_singular_vectors([torch.diag(torch.tensor([2.0, 1.0]).double())]).round(decimals=9).tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    rank = max(1, min(deltas[0].shape) // len(deltas))
    parts = [leading_singular_vectors(delta, rank) for delta in deltas]
    values = torch.cat([part.values for part in parts])
    if values.numel() == 0:  # every task vector is zero here
        return torch.zeros_like(deltas[0])
    left = polar(torch.cat([part.left for part in parts], dim=1)).factor
    right = polar(torch.cat([part.right for part in parts], dim=1)).factor
    return (left * values) @ right.T


@dataclass(frozen=True, kw_only=True)
class TsvM(TaskVectorAlgorithm):
    """Leading singular directions, made orthogonal between tasks. See :func:`tsv_m`."""

    scaling: Scaling = 1.0
    kernels: bool = True

    def task_vector(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        return orthogonalized(TaskVectors.of(base, experts), kernels=self.kernels)
