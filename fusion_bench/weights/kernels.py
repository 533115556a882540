"""Compiled loops over the entries of all models at once, for tensors in the processor's memory.

What torch does operation by operation, each through memory, is done here for a thousand entries at a time, which stay
in the first cache from the first operation to the last. Operations, their order and their rounding (``float64``, no
fused multiply-add) are those of the torch expressions in ``vectors.py``, so both give the same bits.

The first call for a type of entries compiles, which takes a second or two; the result is kept on disk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fusion_bench.weights.philox import ROOM, keep

STEP = 1024  # entries at a time: 8 KiB of float64 for each model
BLOCK = 4096  # entries: sums over a tensor are sums of sums over blocks of so many
ALWAYS = 1 << 32  # the limit that every draw is below
NO_CUT = -1.0
_DRAWING = ROOM + BLOCK // 4  # uint32: what masks are drawn in, and the flags of a block

MEAN, WEIGHTED_MEAN, SUM = 0, 1, 2

# All in one file: the cache on disk knows a function to be out of date by the file that it is in, not by what it calls.
_compiled = njit(nogil=True, cache=True)
_part = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


class Terms(NamedTuple):
    """The entries of some models at one place and what is made of each: T models, S spans, n entries.

    Attributes:
        rows: (T, n), as stored, ``float32`` or ``float64``.
        base: (n), of the same type; not looked at unless ``centred``.
        centred: whether the base is subtracted.
        bounds: (S + 1), where spans begin and end among the entries.
        keys: (T, S, 4), of the masks that thin them; see ``philox.keep``.
        starts: (S), the number in its tensor of the first entry of each span.
        limit: draws below it keep an entry; ``ALWAYS`` keeps all.
        factors: (T, S or 1), what kept entries are multiplied with.
        cuts: (T), the least magnitude that survives; ``NO_CUT`` trims nothing.
        edges: (T, S or 1), from which entry on what equals the cut survives no more.
    """

    rows: NDArray[np.floating]
    base: NDArray[np.floating]
    centred: bool
    bounds: NDArray[np.int64]
    keys: NDArray[np.uint64]
    starts: NDArray[np.int64]
    limit: np.uint64
    factors: NDArray[np.float64]
    cuts: NDArray[np.float64]
    edges: NDArray[np.int64]


# The loops below write to arrays that they do not read under the same condition: a store under a mask takes some
# processors twenty times as long as a store of everything.


@_part
def _difference(row, base, factor, out):
    for i in range(row.size):
        out[i] = (np.float64(row[i]) - np.float64(base[i])) * factor


@_part
def _widened(row, factor, out):
    for i in range(row.size):
        out[i] = np.float64(row[i]) * factor


@_part
def _kept(terms, k, s, lo, hi, drawing):
    """Flags, which entries ``lo`` to ``hi`` of term k stay."""
    flags = drawing[ROOM:].view(np.uint8)[: hi - lo]
    keep(terms.keys[k, s], terms.starts[s] + lo - terms.bounds[s], terms.limit, flags, drawing)
    return flags


@_part
def _thinned(entries, flags, out):
    for i in range(flags.size):
        out[i] = entries[i] if flags[i] != 0 else 0.0


@_part
def _trimmed(entries, count, cut, edge, out):
    if edge >= count:
        for i in range(count):
            out[i] = 0.0 if abs(entries[i]) < cut else entries[i]
    else:
        for i in range(count):
            size = abs(entries[i])
            out[i] = 0.0 if (size < cut) | ((size == cut) & (i >= edge)) else entries[i]


@_part
def _scaled(entries, factor):
    for i in range(entries.size):
        entries[i] *= factor


@_part
def _vector(terms, k, s, lo, hi, one, other, drawing):
    """Entries ``lo`` to ``hi`` of term k, in the first of the two arrays; all three are written to."""
    thin, trim = terms.limit < np.uint64(ALWAYS), terms.cuts[k] >= 0
    now, then = one, other
    if thin != trim:
        now, then = other, one
    factor = terms.factors[k, min(s, terms.factors.shape[1] - 1)]
    if terms.centred:
        _difference(terms.rows[k, lo:hi], terms.base[lo:hi], factor, now)
    else:
        _widened(terms.rows[k, lo:hi], factor, now)
    if thin:
        _thinned(now, _kept(terms, k, s, lo, hi, drawing), then)
        now, then = then, now
    if trim:
        _trimmed(now, hi - lo, terms.cuts[k], terms.edges[k, min(s, terms.edges.shape[1] - 1)] - lo, then)


@_part
def _fill(entries, value):
    for i in range(entries.size):
        entries[i] = value


@_part
def _add(total, entries):
    for i in range(total.size):
        total[i] += entries[i]


@_part
def _copy(entries, out):
    for i in range(out.size):
        out[i] = entries[i]


@_part
def _divide(entries, divisor):
    for i in range(entries.size):
        entries[i] /= divisor


@_compiled
def vector(terms, k, out):
    """Term k."""
    one, other, drawing = np.empty(STEP), np.empty(STEP), np.empty(_DRAWING, np.uint32)
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], STEP):
            hi = min(lo + STEP, terms.bounds[s + 1])
            _vector(terms, k, s, lo, hi, one, other, drawing)
            _copy(one, out[lo:hi])


@_part
def _odd(entries):
    count = 0
    for i in range(entries.size):
        count += np.int64(not (abs(entries[i]) < np.inf))
    return count


@_part
def _add_difference(row, base, factor, total):
    for i in range(row.size):
        total[i] += (np.float64(row[i]) - np.float64(base[i])) * factor


@_part
def _add_thinned(row, base, factor, flags, total):
    for i in range(row.size):
        entry = (np.float64(row[i]) - np.float64(base[i])) * factor
        total[i] += entry if flags[i] != 0 else 0.0


@_part
def _add_widened(row, factor, total):
    for i in range(row.size):
        total[i] += np.float64(row[i]) * factor


@_compiled
def add_up(terms, divisor, out):
    """The sum of the terms, from the first to the last, over a divisor.

    Returns:
        How many entries of it are not finite.
    """
    one, other, drawing = np.empty(STEP), np.empty(STEP), np.empty(_DRAWING, np.uint32)
    thin, first, odd = terms.limit < np.uint64(ALWAYS), np.int64(0), 0
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], STEP):
            hi = min(lo + STEP, terms.bounds[s + 1])
            total = out[lo:hi]
            _vector(terms, first, s, lo, hi, one, other, drawing)
            _copy(one, total)
            for k in range(1, terms.rows.shape[0]):
                factor = terms.factors[k, min(s, terms.factors.shape[1] - 1)]
                if terms.cuts[k] >= 0 or (thin and not terms.centred):
                    _vector(terms, k, s, lo, hi, one, other, drawing)
                    _add(total, one)
                elif thin:
                    row, base = terms.rows[k, lo:hi], terms.base[lo:hi]
                    _add_thinned(row, base, factor, _kept(terms, k, s, lo, hi, drawing), total)
                elif terms.centred:
                    _add_difference(terms.rows[k, lo:hi], terms.base[lo:hi], factor, total)
                else:
                    _add_widened(terms.rows[k, lo:hi], factor, total)
            if divisor != 1.0:
                _divide(total, divisor)
            odd += _odd(total)
    return odd


@_part
def _tally(total, undecided, signs):
    balance, zeros, odd = 0, 0, 0  # odd: no number
    for i in range(total.size):
        balance += np.int64(total[i] > 0) - np.int64(total[i] < 0)
        zeros += np.int64(total[i] == 0)
        odd += np.int64(total[i] != total[i])
    for i in range(total.size):
        signs[i] = 1.0 if total[i] > 0 else (-1.0 if total[i] < 0 else (undecided if total[i] == 0 else 0.0))
    return balance, zeros, odd


@_part
def _cancelled(entries, total):
    count = 0
    for i in range(total.size):
        count += np.int64((total[i] == 0) & (entries[i] != 0))
    return count


@_part
def _agreeing(entries, signs, weight, count, into, counts):
    for i in range(signs.size):
        agrees = entries[i] * signs[i] > 0
        into[i] += entries[i] * weight if agrees else 0.0
        counts[i] += count if agrees else 0.0


@_part
def _agreeing_sum(entries, signs, weight, into):
    for i in range(signs.size):
        into[i] += entries[i] * weight if entries[i] * signs[i] > 0 else 0.0


@_part
def _add_trimmed(row, base, factor, cut, out, total):
    for i in range(row.size):
        entry = (np.float64(row[i]) - np.float64(base[i])) * factor
        kept = 0.0 if abs(entry) < cut else entry
        out[i] = kept
        total[i] += kept


@_compiled
def elect(terms, weights, combine, undecided, out):
    """Per entry the sign of the summed terms, and the mean or sum of the terms that have it.

    Args:
        terms: T of them.
        weights: (T).
        combine: ``MEAN``, ``WEIGHTED_MEAN`` or ``SUM``.
        undecided: the sign of a sum of zero: −1, 0 (stays zero) or 1.
        out: (n), written to.

    Returns:
        Positive less negative signs, not counting the undecided; whether any sum of zero has terms that are not.
    """
    count = terms.rows.shape[0]
    vectors, other, drawing = np.empty((count, STEP)), np.empty(STEP), np.empty(_DRAWING, np.uint32)
    totals, signs, sums, sizes = np.empty(STEP), np.empty(STEP), np.empty(STEP), np.empty(STEP)
    balance, cancelled = 0, False
    plain = terms.centred and terms.limit >= np.uint64(ALWAYS) and combine != WEIGHTED_MEAN
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], STEP):
            hi = min(lo + STEP, terms.bounds[s + 1])
            total, sign, into, size = totals[: hi - lo], signs[: hi - lo], sums[: hi - lo], sizes[: hi - lo]
            _fill(total, 0.0)
            _fill(into, 0.0)
            _fill(size, 0.0)
            for k in range(count):
                edge = terms.edges[k, min(s, terms.edges.shape[1] - 1)]
                if plain and terms.cuts[k] >= 0 and edge >= hi:  # the usual case, in one go
                    factor = terms.factors[k, min(s, terms.factors.shape[1] - 1)]
                    row, base = terms.rows[k, lo:hi], terms.base[lo:hi]
                    _add_trimmed(row, base, factor, terms.cuts[k], vectors[k], total)
                    continue
                _vector(terms, k, s, lo, hi, vectors[k], other, drawing)
                if combine == WEIGHTED_MEAN:
                    _scaled(vectors[k], weights[k])
                _add(total, vectors[k])
            surplus, zeros, odd = _tally(total, undecided, sign)
            balance += surplus
            for k in range(count):
                if zeros > 0:
                    cancelled |= _cancelled(vectors[k], total) > 0
                weight, one = (1.0, weights[k]) if combine == WEIGHTED_MEAN else (weights[k], 1.0)
                if combine == SUM:
                    _agreeing_sum(vectors[k], sign, weight, into)
                else:
                    _agreeing(vectors[k], sign, weight, one, into, size)
            result = out[lo:hi]
            if combine == SUM:
                _copy(into, result)
            else:
                for i in range(into.size):
                    result[i] = into[i] / (size[i] if size[i] != 0.0 else 1.0)
            if odd > 0:
                for i in range(total.size):
                    if total[i] != total[i]:
                        result[i] = total[i]
    return balance, cancelled


@_part
def _between(entries, count, low, high, flags):
    above = 0
    for i in range(count):
        size = abs(entries[i])
        above += np.int64(size > high)
        flags[i] = np.uint8((size >= low) & (size <= high))
    return above


@_part
def _difference_between(row, base, factor, low, high, flags):
    above = 0
    for i in range(row.size):
        size = abs((np.float64(row[i]) - np.float64(base[i])) * factor)
        above += np.int64(size > high)
        flags[i] = np.uint8((size >= low) & (size <= high))
    return above


@_part
def _survey(terms, k, low, high, sizes, places):
    one, other, drawing = np.empty(STEP), np.empty(STEP), np.empty(_DRAWING, np.uint32)
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
                _vector(terms, k, s, lo, hi, one, other, drawing)
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


@_compiled
def survey(terms, which, lows, highs, sizes, places, counts):
    """For some terms, how many magnitudes are above a bound, and how many from another one to it.

    The latter, both bounds included, and where they are, are written to a row each of ``sizes`` and ``places``, as
    far as those go; both numbers to a row of ``counts``.
    """
    for row in range(which.size):
        above, inside = _survey(terms, which[row], lows[row], highs[row], sizes[row], places[row])
        counts[row, 0], counts[row, 1] = above, inside  # one by one: to assign a pair takes numba seconds to compile


@_part
def _folded(entries):
    """The sum of a block, halves added to halves; the block is written to."""
    half = BLOCK // 2
    while half > 0:
        for i in range(half):
            entries[i] += entries[half + i]
        half //= 2
    return entries[0]


@_compiled
def magnitude_sums(terms, k, out):
    """Σ |entry| of term k over each block of each span, one after the other in ``out``."""
    one, other, drawing = np.empty(BLOCK), np.empty(BLOCK), np.empty(_DRAWING, np.uint32)
    at = 0
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], BLOCK):
            hi = min(lo + BLOCK, terms.bounds[s + 1])
            _vector(terms, k, s, lo, hi, one, other, drawing)
            for i in range(hi - lo):
                one[i] = abs(one[i])
            _fill(one[hi - lo :], 0.0)
            out[at] = _folded(one)
            at += 1


@_compiled
def pair_sums(first, second, bounds, out):
    """Σ a², Σ b², Σ (a − b)² and Σ (a + b)² over each block of each span: the four columns of ``out``."""
    squares = np.empty((4, BLOCK))
    at = 0
    for s in range(bounds.size - 1):
        for lo in range(bounds[s], bounds[s + 1], BLOCK):
            hi = min(lo + BLOCK, bounds[s + 1])
            here, there = first[lo:hi], second[lo:hi]
            for i in range(here.size):
                a, b = np.float64(here[i]), np.float64(there[i])
                squares[0, i], squares[1, i] = a * a, b * b
                squares[2, i], squares[3, i] = (a - b) * (a - b), (a + b) * (a + b)
            for term in range(4):
                _fill(squares[term, hi - lo :], 0.0)
                out[at, term] = _folded(squares[term])
            at += 1


@_part
def _step(base, vector, scaling, out):
    for i in range(base.size):
        out[i] = np.float64(base[i]) - (0.0 - vector[i] * scaling)


@_part
def _round(entries, out):
    for i in range(entries.size):
        out[i] = entries[i]


@_compiled
def stepped(base, vector, scaling, out):
    """θ₀ + λΔ, rounded to the type of ``out``; an entry that does not move keeps the base's bits.

    Written so that −0.0 stays: −0.0 + 0.0 is 0.0, but −0.0 − 0.0 is −0.0.

    Returns:
        How many entries of the result are not finite.
    """
    odd = 0
    for lo in range(0, base.size, STEP):
        hi = min(lo + STEP, base.size)
        _step(base[lo:hi], vector[lo:hi], scaling, out[lo:hi])
        odd += _odd(out[lo:hi])
    return odd


@_compiled
def narrowed(entries, out):
    """Entries rounded to the type of ``out``; returns how many are then not finite."""
    odd = 0
    for lo in range(0, entries.size, STEP):
        hi = min(lo + STEP, entries.size)
        _round(entries[lo:hi], out[lo:hi])
        odd += _odd(out[lo:hi])
    return odd
