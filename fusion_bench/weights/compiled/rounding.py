"""Results rounded to the type that they are stored as."""

from __future__ import annotations

import numpy as np

from fusion_bench.weights.compiled.loops import loop, part
from fusion_bench.weights.compiled.terms import STEP, odd_ones

BUILT_ON = "643b9f36c0fd1e5a"  # what it is compiled together with, see tests/weights/compiled


@part
def _step(base, vector, scaling, out):
    for i in range(base.size):
        out[i] = np.float64(base[i]) - (0.0 - vector[i] * scaling)


@part
def _round(entries, out):
    for i in range(entries.size):
        out[i] = entries[i]


@loop
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
        odd += odd_ones(out[lo:hi])
    return odd


@loop
def narrowed(entries, out):
    """Entries rounded to the type of ``out``; returns how many are then not finite."""
    odd = 0
    for lo in range(0, entries.size, STEP):
        hi = min(lo + STEP, entries.size)
        _round(entries[lo:hi], out[lo:hi])
        odd += odd_ones(out[lo:hi])
    return odd
