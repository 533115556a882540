"""The sign of each entry, and what the terms that have it come to."""

from __future__ import annotations

import numpy as np

from fusion_bench.weights.compiled.loops import loop, part
from fusion_bench.weights.compiled.terms import ALWAYS, DRAWING, STEP, add, copy, fill, scaled, vector_of

BUILT_ON = "643b9f36c0fd1e5a"  # what it is compiled together with, see tests/weights/compiled

MEAN, WEIGHTED_MEAN, SUM = 0, 1, 2


@part
def _tally(total, undecided, signs):
    balance, zeros, odd = 0, 0, 0  # odd: no number
    for i in range(total.size):
        balance += np.int64(total[i] > 0) - np.int64(total[i] < 0)
        zeros += np.int64(total[i] == 0)
        odd += np.int64(total[i] != total[i])
    for i in range(total.size):
        signs[i] = 1.0 if total[i] > 0 else (-1.0 if total[i] < 0 else (undecided if total[i] == 0 else 0.0))
    return balance, zeros, odd


@part
def _cancelled(entries, total):
    count = 0
    for i in range(total.size):
        count += np.int64((total[i] == 0) & (entries[i] != 0))
    return count


@part
def _agreeing(entries, signs, weight, count, into, counts):
    for i in range(signs.size):
        agrees = entries[i] * signs[i] > 0
        into[i] += entries[i] * weight if agrees else 0.0
        counts[i] += count if agrees else 0.0


@part
def _agreeing_sum(entries, signs, weight, into):
    for i in range(signs.size):
        into[i] += entries[i] * weight if entries[i] * signs[i] > 0 else 0.0


@part
def _add_trimmed(row, base, factor, cut, out, total):
    for i in range(row.size):
        entry = (np.float64(row[i]) - np.float64(base[i])) * factor
        kept = 0.0 if abs(entry) < cut else entry
        out[i] = kept
        total[i] += kept


@loop
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
    vectors, other, drawing = np.empty((count, STEP)), np.empty(STEP), np.empty(DRAWING, np.uint32)
    totals, signs, sums, sizes = np.empty(STEP), np.empty(STEP), np.empty(STEP), np.empty(STEP)
    balance, cancelled = 0, False
    plain = terms.centred and terms.limit >= np.uint64(ALWAYS) and combine != WEIGHTED_MEAN
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], STEP):
            hi = min(lo + STEP, terms.bounds[s + 1])
            total, sign, into, size = totals[: hi - lo], signs[: hi - lo], sums[: hi - lo], sizes[: hi - lo]
            fill(total, 0.0)
            fill(into, 0.0)
            fill(size, 0.0)
            for k in range(count):
                edge = terms.edges[k, min(s, terms.edges.shape[1] - 1)]
                if plain and terms.cuts[k] >= 0 and edge >= hi:  # the usual case, in one go
                    factor = terms.factors[k, min(s, terms.factors.shape[1] - 1)]
                    row, base = terms.rows[k, lo:hi], terms.base[lo:hi]
                    _add_trimmed(row, base, factor, terms.cuts[k], vectors[k], total)
                    continue
                vector_of(terms, k, s, lo, hi, vectors[k], other, drawing)
                if combine == WEIGHTED_MEAN:
                    scaled(vectors[k], weights[k])
                add(total, vectors[k])
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
                copy(into, result)
            else:
                for i in range(into.size):
                    result[i] = into[i] / (size[i] if size[i] != 0.0 else 1.0)
            if odd > 0:
                for i in range(total.size):
                    if total[i] != total[i]:
                        result[i] = total[i]
    return balance, cancelled
