"""Polar factors, from Gram matrices where that is accurate; see ``spectral.py``."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_bench.weights.heap import LARGE, give_back
from fusion_bench.weights.lapack import gram, largest_eigenpairs
from fusion_bench.weights.spectral import COARSE, EXACT, Attempt, departure, numerical_rank, rounds, tolerance

_STEPS = 3
_ROWS = 256  # of a matrix that are converted to another type, or multiplied by another's, at once


class Polar(NamedTuple):
    """A polar factor.

    Attributes:
        factor: Q, of the matrix's shape.
        rank: of the matrix, numerical.
        norm: the sum of its singular values.
        sensitivity: how much larger the change of Q is, on average, than a small change of the matrix that makes it:
            the root of the mean of (2 / (σᵢ + σⱼ))² (Higham 2008, "Functions of matrices", §8.2); infinite without full
            rank.
    """

    factor: Tensor
    rank: int
    norm: float
    sensitivity: float


def polar(matrix: Tensor, *, coarse: bool = False, overwrite: bool = False) -> Polar:
    """The polar factor Q = U·Vᵀ of a matrix U·S·Vᵀ, over its non-zero singular values only.

    With full rank this is the nearest matrix with orthonormal rows or columns. With less it is the unique partial
    isometry that has the matrix's row and column spaces: the null space is not completed.

    Args:
        matrix: (m, n), ``float64``, or ``float32``, which then is enough to work in.
        coarse: whether ``float32`` is enough; the factor is that where it was.
        overwrite: whether the matrix may be destroyed, which can save a copy of it.

    Raises:
        torch.linalg.LinAlgError: no factor was found, as with entries that are no numbers.

    Example:
        >>> factor, rank, norm, sensitivity = polar(torch.tensor([[0.0, -2.0], [0.0, 0.0]]).double())
        >>> rank, norm, sensitivity, (factor + 0.0).tolist()
        (1, 2.0, inf, [[0.0, -1.0], [0.0, 0.0]])
    """
    if matrix.shape[0] < matrix.shape[1]:
        found = polar(matrix.T, coarse=coarse, overwrite=overwrite)
        return found._replace(factor=found.factor.T)
    for attempt in COARSE if coarse or matrix.dtype == torch.float32 else EXACT:
        made = _factor(matrix, attempt)
        if made is not None:
            factor, values = made
            return Polar(factor, matrix.shape[1], _inner(factor, matrix), _sensitivity(values))
    if matrix.shape[1] >= LARGE:
        return _in_rounds(matrix.to(torch.float64, copy=not overwrite), tolerance(matrix))
    left, values, right_t = torch.linalg.svd(matrix.double(), full_matrices=False)
    rank = numerical_rank(values, matrix)
    sensitivity = _sensitivity(values) if rank == len(values) else math.inf
    return Polar(left[:, :rank] @ right_t[:rank], rank, float(values[:rank].sum()), sensitivity)


def _in_rounds(matrix: Tensor, tolerance: float) -> Polar:
    """The polar factor of a matrix (m, n), m at least n, whatever its rank; the matrix is destroyed."""
    found = rounds(matrix.T, matrix.shape[1], tolerance)
    factor = matrix.zero_()  # it has done its duty
    for right, _, left in found:
        factor.addmm_(left, right.T)
    values = torch.cat([part.values for part in found])
    sensitivity = _sensitivity(values) if len(values) == matrix.shape[1] else math.inf
    return Polar(factor, len(values), float(values.sum()), sensitivity)


def _sensitivity(values: Tensor) -> float:
    rows = sum(float((2 / (some[:, None] + values)).square().sum()) for some in values.double().split(_ROWS))
    return math.sqrt(rows) / len(values)


def _factor(matrix: Tensor, attempt: Attempt) -> tuple[Tensor, Tensor] | None:
    """The polar factor of a matrix of full rank, and singular values; squares are let go of once they are used."""
    if matrix.shape[1] >= LARGE:
        give_back()
    products = gram(matrix.to(attempt.dtype).T)
    if attempt.dtype == torch.float32 and not _well_conditioned(products, attempt.factor):
        return None
    squares, basis = largest_eigenpairs(products, len(products), overwrite=True)
    del products
    if not float(squares[0]) > attempt.factor**2 * float(squares[-1]):
        return None
    half = basis.mul_(squares.pow(-0.25))
    inverse = half @ half.T  # the small product first
    del basis, half
    if matrix.shape[1] >= LARGE:
        give_back()
    factor = _times(matrix, inverse)
    return (factor, squares.clamp_min(0).sqrt()) if departure(factor) <= attempt.residual else None


def _times(matrix: Tensor, other: Tensor) -> Tensor:
    """A·B in the type of B, to which rows of A are converted part by part: a copy of all would be one more matrix."""
    if matrix.dtype == other.dtype:
        return matrix @ other
    found = other.new_empty(len(matrix), other.shape[1])
    for some, made in zip(matrix.split(_ROWS), found.split(_ROWS), strict=True):
        torch.mm(some.to(other.dtype), other, out=made)
    return found


def _inner(one: Tensor, other: Tensor) -> float:
    """The sum of the products of entries, part by part, so that not all are held."""
    parts = zip(one.split(_ROWS), other.split(_ROWS), strict=True)
    return sum(float((some * others).sum()) for some, others in parts)


def _well_conditioned(products: Tensor, ratio: float) -> bool:
    """Whether no singular value is below ``ratio`` times the largest, which a Cholesky decomposition tells in no time.

    The largest comes from a few steps of the power iteration, which is near enough.
    """
    lower = products.tril()  # above it there is nothing
    vector = torch.ones(len(lower), dtype=lower.dtype, device=lower.device)
    for _ in range(_STEPS):
        vector = vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)
        vector = lower @ vector + lower.T @ vector - lower.diagonal() * vector
    lower.diagonal().sub_(ratio**2 * vector.norm())
    return int(torch.linalg.cholesky_ex(lower).info) == 0
