"""What compiled loops are told of the models, and the parts that they are put together from.

What torch does operation by operation, each through memory, is done here for a thousand entries at a time, which stay
in the first cache from the first operation to the last. Operations, their order and their rounding (``float64``, no
fused multiply-add) are those of the torch expressions in ``vectors.py``, so both give the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion_bench.weights.compiled.loops import part
from fusion_bench.weights.compiled.philox import ROOM, keep

STEP = 1024  # entries at a time: 8 KiB of float64 for each model
BLOCK = 4096  # entries: sums over a tensor are sums of sums over blocks of so many
ALWAYS = 1 << 32  # the limit that every draw is below
NO_CUT = -1.0
DRAWING = ROOM + BLOCK // 4  # uint32: what masks are drawn in, and the flags of a block


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


@part
def difference(row, base, factor, out):
    for i in range(row.size):
        out[i] = (np.float64(row[i]) - np.float64(base[i])) * factor


@part
def _widened(row, factor, out):
    for i in range(row.size):
        out[i] = np.float64(row[i]) * factor


@part
def kept(terms, k, s, lo, hi, drawing):
    """Flags, which entries ``lo`` to ``hi`` of term k stay."""
    flags = drawing[ROOM:].view(np.uint8)[: hi - lo]
    keep(terms.keys[k, s], terms.starts[s] + lo - terms.bounds[s], terms.limit, flags, drawing)
    return flags


@part
def _thinned(entries, flags, out):
    for i in range(flags.size):
        out[i] = entries[i] if flags[i] != 0 else 0.0


@part
def _trimmed(entries, count, cut, edge, out):
    if edge >= count:
        for i in range(count):
            out[i] = 0.0 if abs(entries[i]) < cut else entries[i]
    else:
        for i in range(count):
            size = abs(entries[i])
            out[i] = 0.0 if (size < cut) | ((size == cut) & (i >= edge)) else entries[i]


@part
def scaled(entries, factor):
    for i in range(entries.size):
        entries[i] *= factor


@part
def vector_of(terms, k, s, lo, hi, one, other, drawing):
    """Entries ``lo`` to ``hi`` of term k, in the first of the two arrays; all three are written to."""
    thin, trim = terms.limit < np.uint64(ALWAYS), terms.cuts[k] >= 0
    now, then = one, other
    if thin != trim:
        now, then = other, one
    factor = terms.factors[k, min(s, terms.factors.shape[1] - 1)]
    if terms.centred:
        difference(terms.rows[k, lo:hi], terms.base[lo:hi], factor, now)
    else:
        _widened(terms.rows[k, lo:hi], factor, now)
    if thin:
        _thinned(now, kept(terms, k, s, lo, hi, drawing), then)
        now, then = then, now
    if trim:
        _trimmed(now, hi - lo, terms.cuts[k], terms.edges[k, min(s, terms.edges.shape[1] - 1)] - lo, then)


@part
def fill(entries, value):
    for i in range(entries.size):
        entries[i] = value


@part
def add(total, entries):
    for i in range(total.size):
        total[i] += entries[i]


@part
def copy(entries, out):
    for i in range(out.size):
        out[i] = entries[i]


@part
def divide(entries, divisor):
    for i in range(entries.size):
        entries[i] /= divisor


@part
def odd_ones(entries):
    count = 0
    for i in range(entries.size):
        count += np.int64(not (abs(entries[i]) < np.inf))
    return count
