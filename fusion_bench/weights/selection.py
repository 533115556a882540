"""The k entries of largest magnitude of a whole task vector, exactly, in bounded memory.

A sample brackets the k-th magnitude; one pass counts what lies above the bracket and keeps what lies inside, of which
the k-th is then selected. Where more lies inside than may be kept, a histogram over the bit patterns of the magnitudes
(which order as the magnitudes do) narrows the bracket for another pass; so the result is exact whatever the sample.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fusion_bench.weights.pieces import CHUNK, Piece
from fusion_bench.weights.rule import Scan
from fusion_bench.weights.spans import Span, laid_out
from fusion_bench.weights.vectors import Cut, Vectors

Kept: TypeAlias = Literal["nearest", "below", "above"]

_SPREAD = 4.0  # standard deviations of a simple random sample that the bracket spans to either side
_BINS = 4096
_SAMPLED, _LOOKED = 64, 256  # places of a tensor to sample, and entries of each


def kept_count(density: float, size: int, kept: Kept = "nearest") -> int:
    """How many entries a density keeps: ``round(density * size)``, halves to even, or the whole number below or above.

    Example:
        >>> kept_count(0.2, 11), kept_count(0.29, 10, "below"), kept_count(0.2, 11, "above")
        (2, 2, 3)
    """
    below = min(size, int(density * size))
    return {"nearest": round(density * size), "below": below, "above": min(size, below + 1)}[kept]


def tensor_cuts(piece: Piece, vectors: Vectors, count: int) -> tuple[Cut, ...]:
    """For every vector the cut that keeps exactly ``count`` entries of a tensor that the piece is all of.

    Part by part, so that little more is held than the magnitudes between two bounds.
    """
    if count >= piece.count:
        return tuple(Cut(-1.0) for _ in vectors.models)
    if count <= 0:
        return tuple(Cut(math.inf) for _ in vectors.models)
    name, offset = piece.spans[0].name, (vectors.offsets or {}).get(piece.spans[0].name, 0)
    cuts: list[Cut | None] = [None] * len(vectors.models)
    if piece.count > _SAMPLED * _LOOKED:
        step = piece.count // _SAMPLED
        sample = piece.elsewhere([Span(name, at * step, at * step + _LOOKED) for at in range(_SAMPLED)])
        brackets = [_bracket(sizes, count / piece.count) for sizes in vectors.magnitudes(sample)]
        # zeros are left where they are: kept or not they are zeros, and a frozen tensor has nothing else
        bounds = {at: (_value(max(1, first)), _value(last)) for at, (first, last) in enumerate(brackets)}
        found: list[list[tuple[int, NDArray[np.float64], NDArray[np.int64]]]] = [[] for _ in cuts]
        for part in piece.parts(CHUNK):
            for at, (above, sizes, places) in vectors.between(part, bounds).items():
                found[at].append((above, sizes, places + (offset + part.spans[0].start)))
        for at, parts in enumerate(found):
            rank = count - sum(above for above, _, _ in parts)
            sizes = np.concatenate([sizes for _, sizes, _ in parts])
            if 0 < rank <= sizes.size:
                cuts[at] = _cut(sizes, np.concatenate([places for _, _, places in parts]), rank)
            elif rank > sizes.size and brackets[at][0] == 0:  # all that is not zero stays
                cuts[at] = Cut(-1.0)
    for at, cut in enumerate(cuts):  # a small tensor, or a sample that misled
        if cut is None:
            entries = piece.by_parts(functools.partial(vectors.entries, at=at), CHUNK)
            sizes = np.abs(entries.cpu().numpy())
            cuts[at] = _cut(sizes, np.arange(offset, offset + piece.count), count)
    return tuple(cut for cut in cuts if cut is not None)


def _cut(sizes: NDArray[np.float64], positions: NDArray[np.int64], count: int) -> Cut:
    """The cut that keeps ``count`` of some entries."""
    threshold = float(np.partition(sizes, sizes.size - count)[sizes.size - count])
    quota = count - int(np.count_nonzero(sizes > threshold))
    equal = np.sort(positions[sizes == threshold])
    return Cut(threshold, int(equal[quota - 1]) if equal.size > quota else None)


def magnitude_cuts(scan: Scan, vectors: Vectors, count: int) -> tuple[Cut, ...]:
    """For every vector the cut that keeps exactly ``count`` entries of the whole of it.

    Equal magnitudes at the threshold survive in order of position: tensors by name, entries in row-major order.
    """
    if count >= scan.size:
        return tuple(Cut(-1.0) for _ in vectors.models)
    if count <= 0:
        return tuple(Cut(math.inf) for _ in vectors.models)
    searches = _bracketed(scan, vectors, count)
    while any(search.cut is None for search in searches):
        open_ones = {at: search for at, search in enumerate(searches) if search.cut is None}
        bounds = {at: search.begin() for at, search in open_ones.items()}
        budget = _Budget(scan.memory // 24)  # a magnitude, its position, and one of both while it is sorted

        def look(
            piece: Piece,
            open_ones: dict[int, _Search] = open_ones,
            bounds: dict[int, tuple[float, float]] = bounds,
            budget: _Budget = budget,
        ) -> None:
            for at, found in vectors.between(piece, bounds).items():
                open_ones[at].take(*found, piece, scan.offsets, budget)

        scan.map(look, "find thresholds")
        for search in open_ones.values():
            search.narrow()
    return _settle_equals(scan, searches, vectors)


def _bracketed(scan: Scan, vectors: Vectors, count: int) -> list[_Search]:
    sampled = np.concatenate(scan.sample(vectors.magnitudes), axis=1)
    return [_Search(count, *_bracket(sizes, count / scan.size)) for sizes in sampled]


def _bracket(sizes: NDArray[np.float64], density: float) -> tuple[int, int]:
    """Bit patterns between which the least magnitude kept very likely is, from a sample, which is reordered."""
    share, size = 1 - density, sizes.size
    width = _SPREAD * math.sqrt(share * (1 - share) / size) + 2 / size
    low, high = (math.floor((share + sign * width) * size) for sign in (-1, 1))
    sizes.partition([max(0, low), min(high, size - 1)])
    first = 0 if low < 0 else _bits(sizes[low])
    last = _bits(np.inf) if high >= size else _bits(sizes[high])
    return first, last


@dataclass
class _Budget:
    """How many candidates all searches together may still keep."""

    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, count: int) -> bool:
        with self.lock:
            self.left -= count
            return self.left >= 0


@dataclass
class _Search:
    """The k-th largest magnitude of one vector lies between two bit patterns, if the sample did not mislead."""

    count: int
    first: int
    last: int
    cut: Cut | None = None
    quota: int = 0  # how many of those equal to the cut survive, where their positions could not be kept; else 0
    above: int = 0
    inside: int = 0

    def begin(self) -> tuple[float, float]:
        """The bounds between which the next pass looks."""
        self.above, self.inside = 0, 0
        self.kept: list[tuple[NDArray[np.float64], NDArray[np.int64]]] | None = []
        self.histogram = np.zeros(_BINS, dtype=np.int64)  # of what could not be kept
        self.width = max(1, -(-(self.last - self.first + 1) // _BINS))
        self.lock = threading.Lock()
        return _value(self.first), _value(self.last)

    def take(
        self,
        above: int,
        sizes: NDArray[np.float64],
        places: NDArray[np.int64],
        piece: Piece,
        offsets: Mapping[str, int],
        budget: _Budget,
    ) -> None:
        """What a piece has: how many magnitudes above the bounds, and those between them."""
        mine, where = budget.take(sizes.size), positions(piece, places, offsets)
        with self.lock:
            self.above += above
            self.inside += sizes.size
            if self.kept is not None and mine:
                self.kept.append((sizes, where))
                return
            for values, _ in (*(self.kept or ()), (sizes, where)):
                self.histogram += np.bincount((values.view(np.int64) - self.first) // self.width, minlength=_BINS)
            self.kept = None

    def narrow(self) -> None:
        """Find the cut among what was kept, or closer bounds."""
        rank = self.count - self.above  # of the k-th among those inside, counted from the largest
        if rank <= 0:
            self.first, self.last = self.last + 1, _bits(np.inf)
        elif rank > self.inside:
            self.first, self.last = 0, self.first - 1
        elif self.kept is not None:
            sizes, places = (np.concatenate(part) for part in zip(*self.kept, strict=True))
            self.cut = _cut(sizes, places, rank)
        else:
            above = np.cumsum(self.histogram[::-1])
            number = int(np.searchsorted(above, rank))
            chosen = _BINS - 1 - number
            start = self.first + chosen * self.width
            if self.width == 1:  # one value, too often to keep
                self.cut, equal = Cut(_value(start)), int(self.histogram[chosen])
                quota = rank - int(above[number] - equal)
                self.quota = quota if quota < equal and start > 0 else 0  # a zero is a zero, kept or not
            self.first, self.last = start, min(self.last, start + self.width - 1)
        self.kept = None


def _settle_equals(scan: Scan, searches: list[_Search], vectors: Vectors) -> tuple[Cut, ...]:
    """Where not all entries equal to a threshold survive: which one is the last."""
    cuts = [search.cut or Cut(0.0) for search in searches]
    split = {at: search for at, search in enumerate(searches) if search.quota}
    if split:
        same = {at: (cuts[at].threshold, cuts[at].threshold) for at in split}

        def count(piece: Piece) -> list[tuple[int, int, dict[int, int]]]:
            found = {at: np.sort(places) for at, (_, _, places) in vectors.between(piece, same).items()}
            counted = []
            for (name, start, _), begin, end in laid_out(piece.spans):
                here = {at: int(np.diff(np.searchsorted(places, [begin, end]))[0]) for at, places in found.items()}
                if any(here.values()):
                    counted.append((scan.offsets[name] + start, end - begin, here))
            return counted

        spans = sorted((entry for part in scan.map(count, "order equals") for entry in part), key=lambda e: e[0])
        for at, search in split.items():
            left = search.quota
            for begin, size, here in spans:
                if here[at] >= left:
                    cuts[at] = cuts[at]._replace(last=_nth(scan, vectors, at, cuts[at].threshold, begin, size, left))
                    break
                left -= here[at]
    return tuple(cuts)


def _nth(scan: Scan, vectors: Vectors, at: int, threshold: float, begin: int, size: int, nth: int) -> int:
    """The position of the nth entry equal to the threshold of a stretch of the flattened task vector."""

    def look(piece: Piece) -> list[int]:
        for (name, start, _), first, end in laid_out(piece.spans):
            if scan.offsets[name] + start == begin and end - first == size:
                equal = np.flatnonzero(vectors.magnitudes(piece)[at, first:end] == threshold)
                return [begin + int(equal[nth - 1])]
        return []

    return next(position for part in scan.map(look, "order equals") for position in part)


def positions(piece: Piece, index: NDArray[np.int64], offsets: Mapping[str, int]) -> NDArray[np.int64]:
    """Places in a piece as positions in the flattened task vector."""
    if len(piece.spans) == 1:
        name, start, _ = piece.spans[0]
        return index + (offsets[name] + start)
    begins = np.array([at for _, at, _ in laid_out(piece.spans)])
    shifts = np.array([offsets[name] + start for name, start, _ in piece.spans]) - begins
    return index + shifts[np.searchsorted(begins, index, side="right") - 1]


def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))


def _value(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))
