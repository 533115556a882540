"""Sums of terms, entry by entry; and of their sizes, over blocks of entries."""

from __future__ import annotations

import numpy as np

from fusion_bench.weights.compiled.loops import loop, part
from fusion_bench.weights.compiled.terms import (
    ALWAYS,
    BLOCK,
    DRAWING,
    STEP,
    add,
    copy,
    divide,
    fill,
    kept,
    odd_ones,
    vector_of,
)

BUILT_ON = "643b9f36c0fd1e5a"  # what it is compiled together with, see tests/weights/compiled


@loop
def vector(terms, k, out):
    """Term k."""
    one, other, drawing = np.empty(STEP), np.empty(STEP), np.empty(DRAWING, np.uint32)
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], STEP):
            hi = min(lo + STEP, terms.bounds[s + 1])
            vector_of(terms, k, s, lo, hi, one, other, drawing)
            copy(one, out[lo:hi])


@part
def _add_difference(row, base, factor, total):
    for i in range(row.size):
        total[i] += (np.float64(row[i]) - np.float64(base[i])) * factor


@part
def _add_thinned(row, base, factor, flags, total):
    for i in range(row.size):
        entry = (np.float64(row[i]) - np.float64(base[i])) * factor
        total[i] += entry if flags[i] != 0 else 0.0


@part
def _add_widened(row, factor, total):
    for i in range(row.size):
        total[i] += np.float64(row[i]) * factor


@loop
def add_up(terms, divisor, out):
    """The sum of the terms, from the first to the last, over a divisor.

    Returns:
        How many entries of it are not finite.
    """
    one, other, drawing = np.empty(STEP), np.empty(STEP), np.empty(DRAWING, np.uint32)
    thin, first, odd = terms.limit < np.uint64(ALWAYS), np.int64(0), 0
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], STEP):
            hi = min(lo + STEP, terms.bounds[s + 1])
            total = out[lo:hi]
            vector_of(terms, first, s, lo, hi, one, other, drawing)
            copy(one, total)
            for k in range(1, terms.rows.shape[0]):
                factor = terms.factors[k, min(s, terms.factors.shape[1] - 1)]
                if terms.cuts[k] >= 0 or (thin and not terms.centred):
                    vector_of(terms, k, s, lo, hi, one, other, drawing)
                    add(total, one)
                elif thin:
                    row, base = terms.rows[k, lo:hi], terms.base[lo:hi]
                    _add_thinned(row, base, factor, kept(terms, k, s, lo, hi, drawing), total)
                elif terms.centred:
                    _add_difference(terms.rows[k, lo:hi], terms.base[lo:hi], factor, total)
                else:
                    _add_widened(terms.rows[k, lo:hi], factor, total)
            if divisor != 1.0:
                divide(total, divisor)
            odd += odd_ones(total)
    return odd


@part
def _folded(entries):
    """The sum of a block, halves added to halves; the block is written to."""
    half = BLOCK // 2
    while half > 0:
        for i in range(half):
            entries[i] += entries[half + i]
        half //= 2
    return entries[0]


@loop
def magnitude_sums(terms, k, out):
    """Σ |entry| of term k over each block of each span, one after the other in ``out``."""
    one, other, drawing = np.empty(BLOCK), np.empty(BLOCK), np.empty(DRAWING, np.uint32)
    at = 0
    for s in range(terms.bounds.size - 1):
        for lo in range(terms.bounds[s], terms.bounds[s + 1], BLOCK):
            hi = min(lo + BLOCK, terms.bounds[s + 1])
            vector_of(terms, k, s, lo, hi, one, other, drawing)
            for i in range(hi - lo):
                one[i] = abs(one[i])
            fill(one[hi - lo :], 0.0)
            out[at] = _folded(one)
            at += 1


@loop
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
                fill(squares[term, hi - lo :], 0.0)
                out[at, term] = _folded(squares[term])
            at += 1
