"""Reading one place of many files in one go.

A thread that reads gives Python's lock away and must wait for it afterwards, 50 µs where another has work. So all reads
of a piece, and the look whether its entries are numbers, are two compiled calls.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from fusion_bench.weights.compiled.loops import loop

_pread = types.ExternalFunction("pread", types.intp(types.int32, types.uintp, types.uintp, types.int64))


class Stretch(NamedTuple):
    """Bytes ``begin`` to ``end`` of an open file."""

    descriptor: int
    begin: int
    end: int


def fetch(stretches: Sequence[Stretch], addresses: Sequence[int]) -> float | None:
    """Read stretches of files, each to its place in memory; returns the seconds it took, or None where a read failed.

    Why it failed, and which, a second try by Python's own functions tells.

    Args:
        stretches: what to read.
        addresses: for each where its first byte goes, in memory that the caller keeps and knows to be large enough.
    """
    begins = np.array([stretch.begin for stretch in stretches], dtype=np.int64)
    sizes = np.array([stretch.end for stretch in stretches], dtype=np.int64) - begins
    descriptors = np.array([stretch.descriptor for stretch in stretches], dtype=np.int32)
    began = time.perf_counter()
    done = _fetch(descriptors, begins, sizes, np.array(addresses, dtype=np.int64))
    return time.perf_counter() - began if done else None


def all_finite(entries: NDArray[Any], exponent: int | None = None) -> bool:
    """Whether no entry is NaN or infinite.

    Args:
        entries: contiguous, ``float32`` or ``float64``; or ``uint16`` words of a type of half precision, and
        exponent: the bits of its exponent.

    Example:
        >>> all_finite(np.ones((2, 2))), all_finite(np.array([1.0, np.inf], dtype=np.float32))
        (True, False)
    """
    words = entries.reshape(-1).view(f"u{entries.itemsize}")
    bits = {2: exponent, 4: 0x7F800000, 8: 0x7FF0000000000000}[entries.itemsize]
    return not _all_set(words, words.dtype.type(bits))


def widen(words: NDArray[np.uint16], into: NDArray[np.float32]) -> None:
    """``bfloat16`` as ``float32``.

    Args:
        words: of ``bfloat16``, contiguous.
        into: as many, written to.

    Example:
        >>> into = np.empty(2, np.float32)
        >>> widen(np.array([0x3F80, 0xC000], np.uint16), into)
        >>> into
        array([ 1., -2.], dtype=float32)
    """
    _widen(words, into.view(np.uint32))


@loop
def _fetch(descriptors, begins, sizes, addresses):
    for i in range(descriptors.size):
        done = 0
        while done < sizes[i]:
            here, left = np.uintp(addresses[i] + done), np.uintp(sizes[i] - done)
            count = _pread(descriptors[i], here, left, begins[i] + done)
            if count <= 0:
                return False
            done += count
    return True


@loop
def _all_set(words, bits):
    """How many words have all of some bits."""
    count = 0
    for i in range(words.size):
        count += np.int64((words[i] & bits) == bits)
    return count


@loop
def _widen(words, into):
    for i in range(words.size):
        into[i] = np.uint32(words[i]) << np.uint32(16)
