"""Reading one place of many files in one go.

A thread that reads gives Python's lock away and must wait for it afterwards, 50 µs where another has work. So all reads
of a piece, and the look whether its entries are numbers, are two compiled calls.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

_pread = types.ExternalFunction("pread", types.intp(types.int32, types.uintp, types.uintp, types.int64))


class Stretch(NamedTuple):
    """Bytes ``begin`` to ``end`` of an open file."""

    descriptor: int
    begin: int
    end: int


def fetch(stretches: Sequence[Stretch], places: Sequence[int], into: NDArray[np.uint8]) -> float | None:
    """Read stretches of files, each to its place in a buffer; returns the seconds it took, or None where a read failed.

    Why it failed, and which, a second try by Python's own functions tells.

    Args:
        stretches: what to read.
        places: for each the place of its first byte.
        into: the buffer.
    """
    begins = np.array([stretch.begin for stretch in stretches], dtype=np.int64)
    sizes = np.array([stretch.end for stretch in stretches], dtype=np.int64) - begins
    where = np.array(places, dtype=np.int64)
    if len(stretches) and int((where + sizes).max()) > into.size:
        raise ValueError(f"{int((where + sizes).max())} bytes into a buffer of {into.size}")
    descriptors = np.array([stretch.descriptor for stretch in stretches], dtype=np.int32)
    began = time.perf_counter()
    done = _fetch(descriptors, begins, sizes, where, into.ctypes.data)
    return time.perf_counter() - began if done else None


def all_finite(entries: NDArray[np.floating]) -> bool:
    """Whether no entry is NaN or infinite.

    Args:
        entries: contiguous, ``float32`` or ``float64``.

    Example:
        >>> all_finite(np.ones((2, 2))), all_finite(np.array([1.0, np.inf], dtype=np.float32))
        (True, False)
    """
    if entries.dtype == np.float32:
        return not _all_set(entries.reshape(-1).view(np.uint32), np.uint32(0x7F800000))
    return not _all_set(entries.reshape(-1).view(np.uint64), np.uint64(0x7FF0000000000000))


@njit(nogil=True, cache=True)
def _fetch(descriptors, begins, sizes, places, address):
    for i in range(descriptors.size):
        done = 0
        while done < sizes[i]:
            here, left = np.uintp(address + places[i] + done), np.uintp(sizes[i] - done)
            count = _pread(descriptors[i], here, left, begins[i] + done)
            if count <= 0:
                return False
            done += count
    return True


@njit(nogil=True, cache=True)
def _all_set(words, bits):
    """How many words have all of some bits."""
    count = 0
    for i in range(words.size):
        count += np.int64((words[i] & bits) == bits)
    return count
