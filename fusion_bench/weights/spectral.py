"""Matrices inside a model, their leading singular directions, and polar factors.

Gram matrices in ``float64`` stand in for singular value decompositions where that is accurate; a residual is checked,
and where it is not small the decomposition is computed after all. Directions without a singular value are left out
rather than completed at the library's whim, so every result is unique.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from fusion_bench.weights.checkpoint import Factors
from fusion_bench.weights.pieces import Piece

_SAFE_RATIO = 1e-4  # smallest to largest singular value: below it the Gram matrix has lost half of float64's digits
_RESIDUAL = 1e-8  # largest departure of a factor's columns from orthonormal
_PROBES = 8


class SingularVectors(NamedTuple):
    """``left`` (m, k), ``values`` (k,) in descending order, ``right`` (n, k)."""

    left: Tensor
    values: Tensor
    right: Tensor


class Polar(NamedTuple):
    """``factor`` Q of the matrix's shape and the numerical ``rank`` of the matrix."""

    factor: Tensor
    rank: int


def matrix_shape(shape: torch.Size | tuple[int, ...], *, kernels: bool = True) -> tuple[int, int] | None:
    """The shape under which a weight is a matrix (outputs, inputs), or ``None`` where it is not one.

    2-D weights are matrices. A dense convolution kernel (out, in, k, ...) maps its unfolded input linearly and is the
    matrix (out, in·k·…) when ``kernels`` is true. Vectors, scalars, depthwise kernels (C, 1, k, ...), whose channels do
    not mix, and anything with one row or column are not matrices.

    Example:
        >>> matrix_shape((8, 4)), matrix_shape((8, 4, 3, 3)), matrix_shape((8, 1, 3, 3)), matrix_shape((8,))
        ((8, 4), (8, 36), None, None)
    """
    if len(shape) < 2 or (len(shape) > 2 and (not kernels or shape[1] == 1)):
        return None
    rows, columns = shape[0], math.prod(shape[1:])
    return (rows, columns) if min(rows, columns) > 1 else None


def matrix_of(piece: Piece, expert: int, *, kernels: bool = True) -> Tensor | Factors:
    """The task vector of a piece that is a whole matrix, as factors where it is stored so."""
    assert piece.shape is not None
    shape = matrix_shape(piece.shape, kernels=kernels)
    assert shape is not None
    found = piece.factors(expert)
    return found if found is not None else piece.delta(expert).reshape(shape)


def matrix_size(matrix: Tensor | Factors) -> tuple[int, int]:
    """Rows and columns of a matrix or of a product of factors."""
    rows, columns = (matrix.left, matrix.right) if isinstance(matrix, Factors) else (matrix, matrix)
    return rows.shape[0], columns.shape[1]


def dense(matrix: Tensor | Factors) -> Tensor:
    """The matrix itself."""
    return matrix.left @ matrix.right if isinstance(matrix, Factors) else matrix


def leading_singular_vectors(matrix: Tensor | Factors, rank: int) -> SingularVectors:
    """The ``rank`` largest singular triplets of a matrix, or fewer where its numerical rank is smaller.

    Args:
        matrix: (m, n), ``float64``; of factors (m, r) and (r, n) only an r x r core is decomposed.
        rank: at least 1.

    Example:
        >>> leading_singular_vectors(torch.diag(torch.tensor([3.0, 2.0, 0.0]).double()), 3).values
        tensor([3., 2.], dtype=torch.float64)
    """
    if isinstance(matrix, Factors):
        (left, core), (right, other) = torch.linalg.qr(matrix.left), torch.linalg.qr(matrix.right.T)
        inner = leading_singular_vectors(core @ other.T, rank)
        return SingularVectors(left @ inner.left, inner.values, right @ inner.right)
    if matrix.shape[0] > matrix.shape[1]:
        left, values, right = leading_singular_vectors(matrix.T, rank)
        return SingularVectors(right, values, left)
    rank = min(rank, matrix.shape[0])
    squares, left = _largest_eigenpairs(matrix @ matrix.T, rank)
    values = squares.flip(0).clamp_min(0).sqrt()
    if float(values[-1]) > _SAFE_RATIO * float(values[0]):
        left = left.flip(1)
        right = (matrix.T @ left) / values
        if _departure(right) <= _RESIDUAL:
            return SingularVectors(left, values, right)
    left, values, right_t = torch.linalg.svd(matrix, full_matrices=False)
    kept = min(rank, _numerical_rank(values, matrix.shape))
    return SingularVectors(left[:, :kept], values[:kept], right_t[:kept].T)


def polar(matrix: Tensor) -> Polar:
    """The polar factor Q = U·Vᵀ of a matrix U·S·Vᵀ, over its non-zero singular values only.

    With full rank this is the nearest matrix with orthonormal rows or columns. With less it is the unique partial
    isometry that has the matrix's row and column spaces: the null space is not completed.

    Args:
        matrix: (m, n), ``float64``.

    Example:
        >>> factor, rank = polar(torch.tensor([[0.0, -2.0], [0.0, 0.0]]).double())
        >>> rank, (factor + 0.0).tolist()
        (1, [[0.0, -1.0], [0.0, 0.0]])
    """
    if matrix.shape[0] < matrix.shape[1]:
        factor, rank = polar(matrix.T)
        return Polar(factor.T, rank)
    squares, basis = torch.linalg.eigh(matrix.T @ matrix)
    if float(squares[0]) > _SAFE_RATIO**2 * float(squares[-1]):
        factor = matrix @ ((basis * squares.rsqrt()) @ basis.T)  # the small product first
        if _departure(factor) <= _RESIDUAL:
            return Polar(factor, matrix.shape[1])
    left, values, right_t = torch.linalg.svd(matrix, full_matrices=False)
    rank = _numerical_rank(values, matrix.shape)
    return Polar(left[:, :rank] @ right_t[:rank], rank)


def _largest_eigenpairs(gram: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest eigenvalues, ascending, and their vectors; LAPACK's subset solver where it pays."""
    if gram.device.type != "cpu" or count > gram.shape[0] // 2:
        values, vectors = torch.linalg.eigh(gram)
        return values[-count:], vectors[:, -count:]
    last = gram.shape[0] - 1
    found = scipy.linalg.eigh(
        gram.numpy(), subset_by_index=[last + 1 - count, last], driver="evr", overwrite_a=True, check_finite=False
    )
    return torch.from_numpy(found[0]), torch.from_numpy(np.ascontiguousarray(found[1]))


def _departure(factor: Tensor) -> float:
    """How far QᵀQ is from the identity, seen on a few random directions: in full it would cost as much as Q."""
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(factor.shape[1], _PROBES, generator=generator, dtype=factor.dtype).to(factor.device)
    return float((factor.T @ (factor @ probe) - probe).abs().max())


def _numerical_rank(values: Tensor, shape: torch.Size) -> int:
    tolerance = max(shape) * torch.finfo(values.dtype).eps * float(values[0])
    return int((values > tolerance).sum())
