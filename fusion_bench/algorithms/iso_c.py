"""Iso-C: isotropic merging in the common subspace."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.base import TaskVectorAlgorithm
from fusion_bench.algorithms.options import Scaling, checked
from fusion_bench.weights.spectral import matrix_shape, polar
from fusion_bench.weights.state_dict import Experts, StateDict
from fusion_bench.weights.task_vectors import TaskVectors, add_task_vector, mean, ordered_sum


def iso_c(
    base: StateDict, experts: Experts | Sequence[StateDict], *, scaling: float = 1.0, kernels: bool = True
) -> dict[str, Tensor]:
    """Merge the sum of the task vectors' matrices with all its singular values set to their mean.

    For a matrix (m, n), Σᵢ Δᵢ = U S Vᵀ becomes M = mean(S) · U Vᵀ; θ = θ₀ + λ M. Since Q = U Vᵀ is the polar factor of
    the sum and mean(S) = ⟨Q, Σᵢ Δᵢ⟩ / rank, no singular value decomposition is needed where it is well conditioned.
    A sum of lower rank is made isotropic on the directions it has, with the mean of its non-zero singular values.

    Every other tensor takes λ times the mean of the task vectors; what counts as a matrix is said in ``tsv_m``.

    Args:
        base: θ₀.
        experts: θᵢ.
        scaling: λ, any finite number.
        kernels: treat dense convolution kernels as matrices (out, in·k·k); the authors' code averages them.

    Source: Marczak et al. 2025, "No task left behind", arXiv 2502.04959.

    Example:
        >>> import torch
        >>> base, expert = {"w": torch.zeros(2, 2)}, {"w": torch.tensor([[3.0, 0.0], [0.0, -1.0]])}
        >>> (iso_c(base, [expert])["w"] + 0.0).tolist()
        [[2.0, 0.0], [0.0, -2.0]]
    """
    scaling = checked("scaling", scaling, Scaling)
    return add_task_vector(base, isotropic(TaskVectors.of(base, experts), kernels=kernels), scaling=scaling)


def isotropic(vectors: TaskVectors, *, kernels: bool = True) -> dict[str, Tensor]:
    """The merged task vector of :func:`iso_c`.

    Example:
        >>> import torch
        >>> isotropic(TaskVectors.of({"w": torch.zeros(1)}, [{"w": torch.ones(1)}]))
        {'w': tensor([1.], dtype=torch.float64)}
    """

    def rule(name: str, deltas: list[Tensor]) -> Tensor:
        shape = matrix_shape(deltas[0].shape, kernels=kernels)
        if shape is None:
            return mean(deltas)
        return flatten_spectrum(ordered_sum(deltas).reshape(shape)).reshape(deltas[0].shape)

    return vectors.merge(rule)


def flatten_spectrum(matrix: Tensor) -> Tensor:
    """The matrix with every non-zero singular value replaced by their mean; ``float64`` (m, n).

    Example:
        >>> import torch
        >>> flatten_spectrum(torch.diag(torch.tensor([4.0, 2.0]).double())).tolist()
        [[3.0, 0.0], [0.0, 3.0]]
    """
    factor, rank = polar(matrix)
    return factor * ((factor * matrix).sum() / max(rank, 1))


@dataclass(frozen=True, kw_only=True)
class IsoC(TaskVectorAlgorithm):
    """The summed task vectors with a flat spectrum. See :func:`iso_c`."""

    scaling: Scaling = 1.0
    kernels: bool = True

    def task_vector(self, base: StateDict, experts: Experts) -> dict[str, Tensor]:
        return isotropic(TaskVectors.of(base, experts), kernels=self.kernels)
