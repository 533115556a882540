"""Magnitudes above a bound, counted, and those between two, found."""

from __future__ import annotations

import numpy as np

from fusion_bench.weights.compiled.loops import loop, part
from fusion_bench.weights.compiled.terms import ALWAYS, DRAWING, STEP, vector_of

BUILT_ON = "643b9f36c0fd1e5a"  # what it is compiled together with, see tests/weights/compiled


@part
def _between(entries, count, low, high, flags):
    above = 0
    for i in range(count):
        size = abs(entries[i])
        above += np.int64(size > high)
        flags[i] = np.uint8((size >= low) & (size <= high))
    return above


@part
def _difference_between(row, base, factor, low, high, flags):
    above = 0
    for i in range(row.size):
        size = abs((np.float64(row[i]) - np.float64(base[i])) * factor)
        above += np.int64(size > high)
        flags[i] = np.uint8((size >= low) & (size <= high))
    return above


@part
def _survey(terms, k, low, high, sizes, places):
    one, other, drawing = np.empty(STEP), np.empty(STEP), np.empty(DRAWING, np.uint32)
    flags = np.zeros(STEP, np.uint8)
    words = flags.view(np.uint64)
    above, inside = 0, 0
    plain = terms.centred and terms.limit >= np.uint64(ALWAYS) and terms.cuts[k] < 0
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], STEP):
            hi = min(lo + STEP, terms.bounds[s + 1])
            factor = terms.factors[k, min(s, terms.factors.shape[1] - 1)]
            row, base = terms.rows[k, lo:hi], terms.base[lo:hi]
            if plain:  # the usual case, in one go
                found = _difference_between(row, base, factor, low, high, flags)
            else:
                vector_of(terms, k, s, lo, hi, one, other, drawing)
                found = _between(one, hi - lo, low, high, flags)
            above += found
            for word in range((hi - lo + 7) // 8):
                if words[word] != 0:  # few are between the bounds: eight entries at a glance
                    for i in range(8 * word, min(8 * word + 8, hi - lo)):
                        if flags[i] != 0:
                            if inside < sizes.size:
                                if plain:
                                    one[i] = (np.float64(row[i]) - np.float64(base[i])) * factor
                                sizes[inside], places[inside] = abs(one[i]), lo + i
                            inside += 1
    return above, inside


@loop
def survey(terms, which, lows, highs, sizes, places, counts):
    """For some terms, how many magnitudes are above a bound, and how many from another one to it.

    The latter, both bounds included, and where they are, are written to a row each of ``sizes`` and ``places``, as
    far as those go; both numbers to a row of ``counts``.
    """
    for row in range(which.size):
        above, inside = _survey(terms, which[row], lows[row], highs[row], sizes[row], places[row])
        counts[row, 0], counts[row, 1] = above, inside  # one by one: to assign a pair takes numba seconds to compile
