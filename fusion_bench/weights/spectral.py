"""Matrices inside a model, and their leading singular directions; polar factors are in ``polar.py``.

Gram matrices stand in for singular value decompositions where that is accurate; a residual is checked, and where it is
not small the decomposition is computed after all. Of a large matrix that would take eight times its memory: there the
directions too weak beside the strongest are found in a further round, once those are taken out of the matrix.
Directions without a singular value are left out rather than completed at the library's whim, so every result is unique.

Large matrices of models stored in ``float32`` or less may be worked on in ``float32`` (``coarse``) where their spectrum
allows, else in ``float64`` after all: the result is no further from the exact one than the rounding of the weights has
moved that already (docs/performance.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from fusion_bench.weights.checkpoint import Factors
from fusion_bench.weights.heap import LARGE
from fusion_bench.weights.lapack import gram, largest_eigenpairs
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.vectors import Vectors

_PROBES = 8
_CACHED = 1 << 19  # entries of all models together that stay in a processor's second cache
_COARSE_FROM = 256  # rows and columns: what is smaller takes no time in float64 either


class Attempt(NamedTuple):
    """Arithmetic on a Gram matrix, which has lost half of the digits of its type, and what it is good for.

    Attributes:
        vectors: the smallest to the largest singular value of which vectors are wanted.
        factor: the same of a matrix of which the polar factor is wanted.
        residual: how far the columns of the result may then be from orthonormal.
    """

    dtype: torch.dtype
    vectors: float
    factor: float
    residual: float


EXACT = (Attempt(torch.float64, 1e-4, 1e-4, 1e-8),)
COARSE = (Attempt(torch.float32, 3e-2, 0.1, 1e-4), Attempt(torch.float64, 1e-5, 1e-5, 1e-5))
_ROUND = Attempt(torch.float64, 1e-2, 1e-2, 1e-8)  # of a large matrix


Matrix: TypeAlias = "Tensor | Factors"


class SingularVectors(NamedTuple):
    """``left`` (m, k), ``values`` (k,) in descending order, ``right`` (n, k)."""

    left: Tensor
    values: Tensor
    right: Tensor


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


class TaskMatrices:
    """The task vectors of a piece that is one whole matrix, each made when it is asked for, ``float64``.

    Attributes:
        shape: rows and columns.
        coarse: whether ``float32`` is enough to work in: all models store the tensor in that or less, and it is large.

    Args:
        piece: the piece.
        kernels: see ``matrix_shape``.
    """

    def __init__(self, piece: Piece, *, kernels: bool = True) -> None:
        assert piece.shape is not None
        shape = matrix_shape(piece.shape, kernels=kernels)
        assert shape is not None
        self.shape, self._piece = shape, piece
        self.coarse = min(shape) >= _COARSE_FROM and not piece.wide

    def __len__(self) -> int:
        return len(self._piece.experts)

    def __iter__(self) -> Iterator[Matrix]:
        for expert in range(len(self)):
            found = self._piece.factors(expert)
            yield self._dense(Vectors((expert,))) if found is None else found

    def total(self) -> Matrix:
        """Their sum; of adapters alone, the product of the stacked factors."""
        thin = [self._piece.factors(expert) for expert in range(len(self))]
        if all(found is not None for found in thin):
            factors = [found for found in thin if found is not None]
            return Factors(torch.cat([f.left for f in factors], 1), torch.cat([f.right for f in factors]))
        return self._dense(Vectors(tuple(range(len(self)))))

    def _dense(self, vectors: Vectors) -> Tensor:
        """The sum of some vectors, made part by part in what the processor's cache holds."""
        return self._piece.by_parts(vectors.total, _CACHED // (len(vectors.models) + 1)).reshape(self.shape)


def matrix_size(matrix: Matrix) -> tuple[int, int]:
    """Rows and columns of a matrix or of a product of factors."""
    rows, columns = (matrix.left, matrix.right) if isinstance(matrix, Factors) else (matrix, matrix)
    return rows.shape[0], columns.shape[1]


def leading_singular_vectors(
    matrix: Matrix, rank: int, *, coarse: bool = False, overwrite: bool = False
) -> SingularVectors:
    """The ``rank`` largest singular triplets of a matrix, or fewer where its numerical rank is smaller.

    Args:
        matrix: (m, n), ``float64``; of factors (m, r) and (r, n) only an r x r core is decomposed.
        rank: at least 1.
        coarse: whether ``float32`` is enough; the result is that where it was.
        overwrite: whether the matrix may be destroyed, which can save a copy of it.

    Raises:
        torch.linalg.LinAlgError: no vectors were found, as with entries that are no numbers.

    Example:
        >>> leading_singular_vectors(torch.diag(torch.tensor([3.0, 2.0, 0.0]).double()), 3).values
        tensor([3., 2.], dtype=torch.float64)
    """
    if isinstance(matrix, Factors):
        (left, core), (right, other) = torch.linalg.qr(matrix.left), torch.linalg.qr(matrix.right.T)
        inner = leading_singular_vectors(core @ other.T, rank)
        return SingularVectors(left @ inner.left, inner.values, right @ inner.right)
    if matrix.shape[0] > matrix.shape[1]:
        left, values, right = leading_singular_vectors(matrix.T, rank, coarse=coarse, overwrite=overwrite)
        return SingularVectors(right, values, left)
    rank = min(rank, matrix.shape[0])
    for attempt in COARSE if coarse else EXACT:
        if attempt.dtype == torch.float64 and matrix.shape[0] >= LARGE:
            own = matrix.to(torch.float64, copy=not overwrite)
            parts = zip(*rounds(own, rank, tolerance(matrix)), strict=True)
            return SingularVectors(*(torch.cat(part, dim=-1) for part in parts))
        found = _vectors(matrix, rank, attempt)
        if found is not None:
            return found
    left, values, right_t = torch.linalg.svd(matrix, full_matrices=False)
    kept = min(rank, numerical_rank(values, matrix))
    return SingularVectors(left[:, :kept], values[:kept], right_t[:kept].T)


def _vectors(matrix: Tensor, rank: int, attempt: Attempt) -> SingularVectors | None:
    entries = matrix.to(attempt.dtype)
    squares, basis = largest_eigenpairs(gram(entries), rank, overwrite=True)
    values, left = squares.flip(0).clamp_min(0).sqrt(), basis.flip(1)
    if not float(values[-1]) > attempt.vectors * float(values[0]):
        return None
    right = (entries.T @ left).div_(values)
    return SingularVectors(left, values, right) if departure(right) <= attempt.residual else None


def rounds(matrix: Tensor, rank: int, tolerance: float) -> list[SingularVectors]:
    """The largest singular triplets: as many as one Gram matrix tells, and so on with the matrix without them.

    Args:
        matrix: (m, n), ``float64``, m at most n; destroyed.
        rank: how many are wanted.
        tolerance: what beside the largest is rounding.

    Returns:
        Those found in each round, larger than those of the next; the last may have none.

    Raises:
        torch.linalg.LinAlgError: they were not found, as with entries that are no numbers.
    """
    found: list[SingularVectors] = []
    least = 0.0
    while True:
        squares, basis = largest_eigenpairs(gram(matrix), rank, overwrite=True)
        values = squares.flip(0).clamp_min(0).sqrt()
        largest = float(values[0])
        least = least or tolerance * largest
        if not math.isfinite(largest):
            raise torch.linalg.LinAlgError("entries are not finite")
        kept = int((values > max(_ROUND.vectors * largest, least)).sum())
        left, values = basis[:, rank - kept :].flip(1), values[:kept]
        del squares, basis
        right = (matrix.T @ left).div_(values)
        if kept and not departure(right) <= _ROUND.residual:
            left, values, right_t = torch.linalg.svd(matrix, full_matrices=False)
            kept = min(rank, int((values > least).sum()))
            return [*found, SingularVectors(left[:, :kept], values[:kept], right_t[:kept].T)]
        found.append(SingularVectors(left, values, right))
        rank -= kept
        if not (rank and kept):
            return found
        # what rounding left the first time goes the second time, and what it left of earlier rounds too
        for left, _, right in [*found, *found]:
            matrix.addmm_(left, left.T @ matrix, alpha=-1)
            matrix.addmm_(matrix @ right, right.T, alpha=-1)


def departure(factor: Tensor) -> float:
    """How far QᵀQ is from the identity, seen on a few random directions: in full it would cost as much as Q."""
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(factor.shape[1], _PROBES, generator=generator, dtype=factor.dtype).to(factor.device)
    return float((factor.T @ (factor @ probe) - probe).abs().max())


def numerical_rank(values: Tensor, matrix: Tensor) -> int:
    """How many of a matrix's singular values are more than rounding."""
    return int((values > tolerance(matrix) * float(values[0])).sum())


def tolerance(matrix: Tensor) -> float:
    """What beside the largest singular value of a matrix is rounding."""
    return max(matrix.shape) * torch.finfo(matrix.dtype).eps
