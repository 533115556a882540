"""Matrices inside a model, their leading singular directions, and polar factors.

Gram matrices stand in for singular value decompositions where that is accurate; a residual is checked, and where it is
not small the decomposition is computed after all. Directions without a singular value are left out rather than
completed at the library's whim, so every result is unique.

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
from fusion_bench.weights.lapack import gram, largest_eigenpairs
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.vectors import Vectors

_PROBES = 8
_STEPS = 3
_CACHED = 1 << 19  # entries of all models together that stay in a processor's second cache
_LARGE = 256  # rows and columns: what is smaller takes no time in float64 either


class _Attempt(NamedTuple):
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


_EXACT = (_Attempt(torch.float64, 1e-4, 1e-4, 1e-8),)
_COARSE = (_Attempt(torch.float32, 3e-2, 0.1, 1e-4), _Attempt(torch.float64, 1e-5, 1e-5, 1e-5))


Matrix: TypeAlias = "Tensor | Factors"


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
        self.coarse = min(shape) >= _LARGE and not piece.wide

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


def leading_singular_vectors(matrix: Matrix, rank: int, *, coarse: bool = False) -> SingularVectors:
    """The ``rank`` largest singular triplets of a matrix, or fewer where its numerical rank is smaller.

    Args:
        matrix: (m, n), ``float64``; of factors (m, r) and (r, n) only an r x r core is decomposed.
        rank: at least 1.
        coarse: whether ``float32`` is enough; the result is that where it was.

    Example:
        >>> leading_singular_vectors(torch.diag(torch.tensor([3.0, 2.0, 0.0]).double()), 3).values
        tensor([3., 2.], dtype=torch.float64)
    """
    if isinstance(matrix, Factors):
        (left, core), (right, other) = torch.linalg.qr(matrix.left), torch.linalg.qr(matrix.right.T)
        inner = leading_singular_vectors(core @ other.T, rank)
        return SingularVectors(left @ inner.left, inner.values, right @ inner.right)
    if matrix.shape[0] > matrix.shape[1]:
        left, values, right = leading_singular_vectors(matrix.T, rank, coarse=coarse)
        return SingularVectors(right, values, left)
    rank = min(rank, matrix.shape[0])
    for attempt in _COARSE if coarse else _EXACT:
        entries = matrix.to(attempt.dtype)
        squares, basis = largest_eigenpairs(gram(entries), rank)
        values, left = squares.flip(0).clamp_min(0).sqrt(), basis.flip(1)
        if float(values[-1]) > attempt.vectors * float(values[0]):
            right = (entries.T @ left) / values
            if _departure(right) <= attempt.residual:
                return SingularVectors(left, values, right)
    left, values, right_t = torch.linalg.svd(matrix, full_matrices=False)
    kept = min(rank, _numerical_rank(values, matrix))
    return SingularVectors(left[:, :kept], values[:kept], right_t[:kept].T)


def polar(matrix: Tensor, *, coarse: bool = False) -> Polar:
    """The polar factor Q = U·Vᵀ of a matrix U·S·Vᵀ, over its non-zero singular values only.

    With full rank this is the nearest matrix with orthonormal rows or columns. With less it is the unique partial
    isometry that has the matrix's row and column spaces: the null space is not completed.

    Args:
        matrix: (m, n), ``float64``, or ``float32``, which then is enough to work in.
        coarse: whether ``float32`` is enough; the factor is that where it was.

    Example:
        >>> factor, rank = polar(torch.tensor([[0.0, -2.0], [0.0, 0.0]]).double())
        >>> rank, (factor + 0.0).tolist()
        (1, [[0.0, -1.0], [0.0, 0.0]])
    """
    if matrix.shape[0] < matrix.shape[1]:
        factor, rank = polar(matrix.T, coarse=coarse)
        return Polar(factor.T, rank)
    for attempt in _COARSE if coarse or matrix.dtype == torch.float32 else _EXACT:
        entries = matrix.to(attempt.dtype)
        products = gram(entries.T)
        if attempt.dtype == torch.float32 and not _well_conditioned(entries, products, attempt.factor):
            continue
        squares, basis = torch.linalg.eigh(products)
        if float(squares[0]) > attempt.factor**2 * float(squares[-1]):
            factor = entries @ ((basis * squares.rsqrt()) @ basis.T)  # the small product first
            if _departure(factor) <= attempt.residual:
                return Polar(factor, matrix.shape[1])
    left, values, right_t = torch.linalg.svd(matrix.double(), full_matrices=False)
    rank = _numerical_rank(values, matrix)
    return Polar(left[:, :rank] @ right_t[:rank], rank)


def _well_conditioned(matrix: Tensor, products: Tensor, ratio: float) -> bool:
    """Whether no singular value is below ``ratio`` times the largest, which a Cholesky decomposition tells in no time.

    The largest comes from a few steps of the power iteration, which is near enough.
    """
    vector = torch.ones(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    for _ in range(_STEPS):
        vector = vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)
        vector = matrix.T @ (matrix @ vector)
    shifted = products.clone()
    shifted.diagonal().sub_(ratio**2 * vector.norm())
    return int(torch.linalg.cholesky_ex(shifted).info) == 0


def _departure(factor: Tensor) -> float:
    """How far QᵀQ is from the identity, seen on a few random directions: in full it would cost as much as Q."""
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(factor.shape[1], _PROBES, generator=generator, dtype=factor.dtype).to(factor.device)
    return float((factor.T @ (factor @ probe) - probe).abs().max())


def _numerical_rank(values: Tensor, matrix: Tensor) -> int:
    tolerance = max(matrix.shape) * torch.finfo(matrix.dtype).eps * float(values[0])
    return int((values > tolerance).sum())
