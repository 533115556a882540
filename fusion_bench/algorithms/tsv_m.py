"""TSV-M: merging of task singular vectors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from fusion_bench.algorithms.matrices import MatrixAlgorithm
from fusion_bench.algorithms.options import Scaling, made
from fusion_bench.weights.checkpoint import Factors
from fusion_bench.weights.heap import MANY, give_back
from fusion_bench.weights.polar import polar
from fusion_bench.weights.spectral import Matrix, TaskMatrices, leading_singular_vectors, matrix_size
from fusion_bench.weights.state_dict import Experts, StateDict

_SENSITIVE = 16  # vectors in float32 are off by 1e-6, so the result by about 1e-5 then; of random tasks it is 2 to 5


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


def merge_singular_vectors(
    deltas: Collection[Matrix] | TaskMatrices, *, coarse: bool = False, overwrite: bool = False
) -> Tensor:
    """The formula of :func:`tsv_m` for one matrix: ``float64`` tensors (m, n), or their factors, to one.

    Of each matrix only the leading directions are held, so they may be made one at a time.

    Args:
        deltas: of one shape; gone through once more where ``float32`` was not enough.
        coarse: whether ``float32`` is enough to work in; the result of several is that then. Where tasks share
            directions so nearly that rounding would be seen, it is ``float64`` after all.
        overwrite: whether the tensors may be destroyed; only of what makes them anew each time it is gone through.

    Example:
        >>> merge_singular_vectors([torch.diag(torch.tensor([2.0, 1.0]).double())]).round(decimals=9).tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    if len(deltas) == 1:  # all directions, with what they have
        (delta,) = deltas
        return delta.left @ delta.right if isinstance(delta, Factors) else delta
    found = _merged(deltas, torch.float32, overwrite=overwrite) if coarse else None
    if found is None:
        found = _merged(deltas, torch.float64, overwrite=overwrite)
    assert found is not None  # only of float32 too much is asked
    return found


def _merged(deltas: Collection[Matrix] | TaskMatrices, kind: torch.dtype, *, overwrite: bool) -> Tensor | None:
    """What is merged in a type; None where that is too rough."""
    coarse, count = kind == torch.float32, len(deltas)
    sides: list[Tensor] = []
    values: list[Tensor] = []
    used, shape = 0, (0, 0)
    for delta in deltas:
        shape = matrix_size(delta)
        rank = max(1, min(shape) // count)
        found = leading_singular_vectors(delta, rank, coarse=coarse, overwrite=overwrite)
        del delta  # before the next one is made
        if not sides:  # room for all, which in pieces would be held twice when they are put together
            sides = [found.left.new_empty(count * rank, size, dtype=kind) for size in shape]
        end = used + len(found.values)
        sides[0][used:end], sides[1][used:end] = found.left.T, found.right.T
        values.append(found.values.to(kind))
        used = end
        del found
    if used == 0:  # every task vector is zero here
        return sides[0].new_zeros(shape)
    if shape[0] * shape[1] >= MANY:  # what all task vectors left, before more of that size is made
        give_back()
    for number in range(2):  # one after the other, each in place of what it is made from
        side = polar(sides[number][:used].T, overwrite=True)
        if coarse and side.sensitivity > _SENSITIVE:
            return None
        sides[number] = side.factor.to(kind)
        del side
    left, right = sides
    return left.mul_(torch.cat(values)) @ right.T


@dataclass(frozen=True, kw_only=True)
class TsvM(MatrixAlgorithm):
    """Leading singular directions, made orthogonal between tasks. See :func:`tsv_m`."""

    scaling: Scaling = 1.0

    def matrix(self, deltas: TaskMatrices) -> Tensor:
        return merge_singular_vectors(deltas, coarse=deltas.coarse, overwrite=True)
