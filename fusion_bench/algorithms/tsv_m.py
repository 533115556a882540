"""TSV-M: merging of task singular vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.matrices import MatrixAlgorithm
from fusion_bench.algorithms.options import Scaling, made
from fusion_bench.weights.spectral import Matrix, TaskMatrices, leading_singular_vectors, matrix_size, polar
from fusion_bench.weights.state_dict import Experts, StateDict


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
    return made(TsvM, scaling=scaling, kernels=kernels).merge(base, experts)


def merge_singular_vectors(deltas: Iterable[Matrix], count: int, *, coarse: bool = False) -> Tensor:
    """The formula of :func:`tsv_m` for one matrix: ``count`` ``float64`` tensors (m, n), or their factors, to one.

    Of each matrix only the leading directions are held, so they may be made one at a time. ``coarse``: whether to work
    in ``float32`` is enough; the result is that then.

    Example:
        >>> merge_singular_vectors([torch.diag(torch.tensor([2.0, 1.0]).double())], 1).round(decimals=9).tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    kind = torch.float32 if coarse else torch.float64
    parts, shape = [], (0, 0)
    for delta in deltas:
        shape = matrix_size(delta)
        found = leading_singular_vectors(delta, max(1, min(shape) // count), coarse=coarse)
        parts.append([part.to(kind) for part in found])
    lefts, values, rights = (torch.cat(side, dim=-1) for side in zip(*parts, strict=True))
    del parts, found  # as large as the two together, and polar factors need room
    if values.numel() == 0:  # every task vector is zero here
        return torch.zeros(shape, dtype=kind, device=values.device)
    left, right = (polar(side).factor.to(kind) for side in (lefts, rights))
    return (left * values) @ right.T


@dataclass(frozen=True, kw_only=True)
class TsvM(MatrixAlgorithm):
    """Leading singular directions, made orthogonal between tasks. See :func:`tsv_m`."""

    scaling: Scaling = 1.0

    def matrix(self, deltas: TaskMatrices) -> Tensor:
        return merge_singular_vectors(deltas, len(deltas), coarse=deltas.coarse)
