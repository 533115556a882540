"""Two routines of BLAS and LAPACK that torch has not: half of a product, and some eigenvectors.

SciPy's own wrappers of them keep Python's lock while they work, so threads take turns; called by address they do not.
Matrices elsewhere than in the processor's memory go through torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import scipy.linalg.cython_blas  # now, so that who limits the threads of libraries finds them loaded
import scipy.linalg.cython_lapack  # noqa: F401
import torch
from numba.extending import get_cython_function_address
from torch import Tensor

from fusion_bench.weights.heap import LARGE, give_back

_LETTERS = {torch.float32: "s", torch.float64: "d"}


def gram(matrix: Tensor) -> Tensor:
    """The lower triangle of A·Aᵀ, which is all that a decomposition looks at; above it there is nothing to rely on.

    Args:
        matrix: (m, n), ``float32`` or ``float64``.

    Example:
        >>> gram(torch.tensor([[1.0, 2.0], [0.0, 3.0]])).tril()
        tensor([[5., 0.],
                [6., 9.]])
    """
    rows, columns = matrix.shape
    if matrix.device.type != "cpu" or not matrix.numel():
        return matrix @ matrix.T
    upright = matrix.T.is_contiguous() and not matrix.is_contiguous()
    entries = matrix.T if upright else matrix.contiguous()  # Fortran reads rows as columns
    found = torch.zeros(rows, rows, dtype=matrix.dtype)
    one, zero = _number(matrix.dtype, 1.0), _number(matrix.dtype, 0.0)
    call = _routine("scipy.linalg.cython_blas", _LETTERS[matrix.dtype] + "syrk", 10)
    call(
        b"U",
        b"N" if upright else b"T",
        _int(rows),
        _int(columns),
        one,
        ctypes.c_void_p(entries.data_ptr()),
        _int(rows if upright else columns),
        zero,
        ctypes.c_void_p(found.data_ptr()),
        _int(rows),
    )
    return found


def largest_eigenpairs(symmetric: Tensor, count: int, *, overwrite: bool = False) -> tuple[Tensor, Tensor]:
    """The ``count`` largest eigenvalues, ascending, and their vectors, as columns.

    Args:
        symmetric: (n, n), ``float32`` or ``float64``, of which the lower triangle is looked at.
        count: at least 1.
        overwrite: whether the matrix may be destroyed, which can save a copy of it.

    Raises:
        torch.linalg.LinAlgError: the iteration did not converge, as with entries that are no numbers.

    Example:
        >>> largest_eigenpairs(torch.diag(torch.tensor([1.0, 3.0, 2.0, 0.0])), 1)[0]
        tensor([3.])
    """
    size, dtype = symmetric.shape[0], symmetric.dtype
    if size >= LARGE:
        give_back()
    # to divide and conquer all of them is faster then, and in float32 more accurate, but takes two squares more
    roomy = dtype == torch.float32 or size < LARGE
    if symmetric.device.type != "cpu" or (count > size // 2 and roomy):
        values, vectors = torch.linalg.eigh(symmetric)
        return values[-count:], vectors[:, -count:]
    entries = symmetric if overwrite and symmetric.is_contiguous() else symmetric.contiguous().clone()
    values, vectors = torch.empty(size, dtype=dtype), torch.empty(count, size, dtype=dtype)
    blocks, found = torch.empty(2 * count, dtype=torch.int32), _int(0)
    nothing, info = _number(dtype, 0.0), _int(0)
    call = _routine("scipy.linalg.cython_lapack", _LETTERS[dtype] + "syevr", 21)

    def run(work: Tensor, whole: Tensor, sizes: tuple[int, int]) -> None:
        call(
            b"V",
            b"I",
            b"U",
            _int(size),
            ctypes.c_void_p(entries.data_ptr()),
            _int(size),
            nothing,
            nothing,
            _int(size - count + 1),
            _int(size),
            nothing,
            found,
            ctypes.c_void_p(values.data_ptr()),
            ctypes.c_void_p(vectors.data_ptr()),
            _int(size),
            ctypes.c_void_p(blocks.data_ptr()),
            ctypes.c_void_p(work.data_ptr()),
            _int(sizes[0]),
            ctypes.c_void_p(whole.data_ptr()),
            _int(sizes[1]),
            info,
        )

    asked, wholes = torch.empty(1, dtype=dtype), torch.empty(1, dtype=torch.int32)
    run(asked, wholes, (-1, -1))  # how much room it wants
    sizes = int(asked), int(wholes)
    run(torch.empty(sizes[0], dtype=dtype), torch.empty(sizes[1], dtype=torch.int32), sizes)
    if info._obj.value or found._obj.value != count:
        raise torch.linalg.LinAlgError(f"the eigenvectors of a {size} x {size} matrix were not found")
    return values[:count], vectors.T


def _int(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


def _number(dtype: torch.dtype, value: float) -> Any:
    return ctypes.byref(ctypes.c_double(value) if dtype == torch.float64 else ctypes.c_float(value))


@lru_cache(maxsize=8)
def _routine(module: str, name: str, count: int) -> Callable[..., None]:
    """A Fortran routine: every argument is a pointer; Python's lock is not held while it runs."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count)
    called: Callable[..., None] = kind(get_cython_function_address(module, name))
    return called
