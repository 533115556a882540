"""The C library's heap."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

LARGE = 1024  # rows and columns of matrices for which memory is dearer than time: asking for it anew takes time
MANY = 1 << 21  # entries of a matrix that is worth it once or twice, however few its rows

_MMAP_THRESHOLD, _BLOCK, _DEFAULT = -3, 1 << 20, 32 << 20


def give_back() -> None:
    """Return free memory to the system, where the C library can (glibc).

    What is freed below a block that is in use stays with the process otherwise.

    Example:
        >>> give_back()
    """
    trim = _routine("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def returning(wanted: bool) -> Iterator[None]:
    """While the context is open, blocks of a mebibyte or more go back to the system as soon as they are freed (glibc).

    The C library would keep such of less than 32 MiB for the next that asks: of matrices, as much again as is held at
    once. To ask the system each time takes a few per cent longer.

    Args:
        wanted: whether memory is dearer than that.

    Example:
        >>> with returning(True):
        ...     pass
    """
    option = _routine("mallopt") if wanted else None
    if option is not None:
        option(_MMAP_THRESHOLD, _BLOCK)
    try:
        yield
    finally:
        if option is not None:
            option(_MMAP_THRESHOLD, _DEFAULT)  # where glibc's own adaptation ends


@cache
def _routine(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library
        return None
