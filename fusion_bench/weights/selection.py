"""The k entries of largest magnitude of a whole task vector, exactly, in bounded memory.

A sample brackets the k-th magnitude; one pass counts what lies above the bracket and keeps what lies inside, of which
the k-th is then selected. Where more lies inside than may be kept, a histogram over the bit patterns of the magnitudes
(which order as the magnitudes do) narrows the bracket for another pass; so the result is exact whatever the sample.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_bench.weights.checkpoint import laid_out
from fusion_bench.weights.pieces import Piece
from fusion_bench.weights.rule import Scan

Kept: TypeAlias = Literal["nearest", "below", "above"]
Vectors: TypeAlias = Callable[[Piece, int], Tensor]
"""``vectors(piece, expert)``: the entries of an expert's task vector, ``float64``."""

_SPREAD = 5.0  # standard deviations of a simple random sample that the bracket spans to either side
_BINS = 4096


@dataclass(frozen=True)
class Cut:
    """What survives trimming: magnitudes above ``threshold``, and those equal to it up to position ``last``.

    Positions count through the flattened task vector, tensors by name; ``last`` is None where all equal ones survive.
    """

    threshold: float
    last: int | None = None

    def trim(self, entries: Tensor, piece: Piece, offsets: Mapping[str, int]) -> Tensor:
        """The entries with what does not survive set to zero."""
        below = math.nextafter(self.threshold, -math.inf)
        if below < 0:
            return entries
        kept = torch.nn.functional.hardshrink(entries, below)  # keeps what is larger than its bound
        if self.last is None:
            return kept
        for (name, start, _), at, end in laid_out(piece.spans):
            first = at + max(0, min(self.last + 1 - offsets[name] - start, end - at))
            if first < end:
                kept[first:end] = torch.nn.functional.hardshrink(entries[first:end], self.threshold)
        return kept


def kept_count(density: float, size: int, kept: Kept = "nearest") -> int:
    """How many entries a density keeps: ``round(density * size)``, halves to even, or the whole number below or above.

    Example:
        >>> kept_count(0.2, 11), kept_count(0.29, 10, "below"), kept_count(0.2, 11, "above")
        (2, 2, 3)
    """
    below = min(size, int(density * size))
    return {"nearest": round(density * size), "below": below, "above": min(size, below + 1)}[kept]


def largest_of_tensor(entries: Tensor, count: int) -> Tensor:
    """The ``count`` entries of largest magnitude, the others set to zero; of equal ones the earlier.

    Example:
        >>> largest_of_tensor(torch.tensor([1.0, -3.0, 2.0, 1.0]), 3)
        tensor([ 1., -3.,  2.,  0.])
    """
    if count >= entries.numel():
        return entries
    if count <= 0:
        return torch.zeros_like(entries)
    magnitudes = entries.abs().cpu().numpy()
    threshold = float(np.partition(magnitudes, magnitudes.size - count)[magnitudes.size - count])
    kept = torch.nn.functional.hardshrink(entries, threshold)
    quota = count - int(np.count_nonzero(magnitudes > threshold))
    equal = torch.from_numpy(np.flatnonzero(magnitudes == threshold)[:quota]).to(entries.device)
    kept[equal] = entries[equal]
    return kept


def magnitude_cuts(scan: Scan, count: int, vectors: Vectors | None = None) -> list[Cut]:
    """For every expert the cut that keeps exactly ``count`` entries of its whole task vector.

    Equal magnitudes at the threshold survive in order of position: tensors by name, entries in row-major order.

    Args:
        scan: the model.
        count: how many to keep.
        vectors: the task vectors, Δᵢ if None.
    """
    experts = range(len(scan.experts))
    if count >= scan.size:
        return [Cut(-1.0) for _ in experts]
    if count <= 0:
        return [Cut(math.inf) for _ in experts]
    searches = _bracketed(scan, count, vectors)
    while any(search.threshold is None for search in searches):
        open_ones = [search for search in searches if search.threshold is None]
        budget = _Budget(scan.memory // 24)  # a magnitude, its position, and one of both while it is sorted
        for search in open_ones:
            search.begin()

        def look(piece: Piece, open_ones: list[_Search] = open_ones, budget: _Budget = budget) -> None:
            for search in open_ones:
                search.look(piece, vectors, scan.offsets, budget)

        scan.map(look, "find thresholds")
        for search in open_ones:
            search.narrow()
    return _settle_equals(scan, searches, vectors)


def _bracketed(scan: Scan, count: int, vectors: Vectors | None) -> list[_Search]:
    experts = range(len(scan.experts))
    sampled = scan.sample(lambda piece: [_magnitudes(piece, i, vectors) for i in experts])
    searches = []
    for expert in experts:
        values = np.sort(np.concatenate([piece[expert] for piece in sampled]))
        share = 1 - count / scan.size
        width = _SPREAD * math.sqrt(share * (1 - share) / len(values)) + 2 / len(values)
        low, high = (int(np.floor((share + sign * width) * len(values))) for sign in (-1, 1))
        first = 0 if low < 0 else _bits(values[low])
        last = _bits(np.inf) if high >= len(values) else _bits(values[high])
        searches.append(_Search(expert, count, first, last))
    return searches


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
    """The k-th largest magnitude of one expert lies between two bit patterns, if the sample did not mislead."""

    expert: int
    count: int
    first: int
    last: int
    threshold: float | None = None
    above: int = 0
    last_kept: int | None = None  # position of the last that survives of those equal to the threshold
    quota: int = 0  # of those, how many survive, where their positions could not be kept
    equal: int = 0

    def begin(self) -> None:
        self.above, self.complete = 0, True
        self.kept: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
        self.histogram = np.zeros(_BINS, dtype=np.int64)
        self.width = max(1, -(-(self.last - self.first + 1) // _BINS))
        self.lock = threading.Lock()

    def look(self, piece: Piece, vectors: Vectors | None, offsets: Mapping[str, int], budget: _Budget) -> None:
        low, high = _value(self.first), _value(self.last)
        above, inside, index = _between(piece, self.expert, vectors, low, high)
        bins = np.bincount((inside.view(np.int64) - self.first) // self.width, minlength=_BINS)
        mine = budget.take(inside.size)
        with self.lock:
            self.above += above
            self.histogram += bins
            self.complete &= mine
            if self.complete:
                self.kept.append((inside, positions(piece, index, offsets)))
            else:
                self.kept.clear()

    def narrow(self) -> None:
        rank = self.count - self.above  # of the k-th among those inside, counted from the largest
        if rank <= 0:
            self.first, self.last = self.last + 1, _bits(np.inf)
        elif rank > int(self.histogram.sum()):
            self.first, self.last = 0, self.first - 1
        elif self.complete:
            values = np.concatenate([values for values, _ in self.kept])
            self.threshold = float(np.partition(values, values.size - rank)[values.size - rank])
            quota = rank - int(np.count_nonzero(values > self.threshold))
            equal = np.sort(np.concatenate([at[values == self.threshold] for values, at in self.kept]))
            if equal.size > quota:
                self.last_kept = int(equal[quota - 1])
        else:
            above = np.cumsum(self.histogram[::-1])
            number = int(np.searchsorted(above, rank))
            chosen = _BINS - 1 - number
            start = self.first + chosen * self.width
            if self.width == 1:  # one value, too often to keep
                self.threshold, self.equal = _value(start), int(self.histogram[chosen])
                self.quota = rank - int(above[number] - self.equal)
            self.first, self.last = start, min(self.last, start + self.width - 1)
        self.kept = []


def _settle_equals(scan: Scan, searches: list[_Search], vectors: Vectors | None) -> list[Cut]:
    """Where not all entries equal to a threshold survive: which one is the last."""
    split = [s for s in searches if s.equal > s.quota and s.threshold != 0.0]  # a zero is a zero, kept or not
    found: dict[int, int] = {}
    if split:

        def count(piece: Piece) -> list[tuple[int, int, list[int]]]:
            equal = [_magnitudes(piece, s.expert, vectors) == s.threshold for s in split]
            counted = []
            for (name, start, _), at, end in laid_out(piece.spans):
                here = [int(np.count_nonzero(e[at:end])) for e in equal]
                if any(here):
                    counted.append((scan.offsets[name] + start, end - at, here))
            return counted

        spans = sorted(entry for part in scan.map(count, "order equals") for entry in part)
        for number, search in enumerate(split):
            left = search.quota
            for begin, size, here in spans:
                if here[number] >= left:
                    found[search.expert] = _nth(scan, search, begin, size, left, vectors)
                    break
                left -= here[number]
    return [Cut(s.threshold or 0.0, found.get(s.expert, s.last_kept)) for s in searches]


def _nth(scan: Scan, search: _Search, begin: int, size: int, nth: int, vectors: Vectors | None) -> int:
    """The position of the nth entry equal to the threshold of a stretch of the flattened task vector."""

    def look(piece: Piece) -> list[int]:
        for (name, start, _), at, end in laid_out(piece.spans):
            if scan.offsets[name] + start == begin and end - at == size:
                magnitudes = _magnitudes(piece, search.expert, vectors)[at:end]
                return [begin + int(np.flatnonzero(magnitudes == search.threshold)[nth - 1])]
        return []

    return next(position for part in scan.map(look, "order equals") for position in part)


def _between(
    piece: Piece, expert: int, vectors: Vectors | None, low: float, high: float
) -> tuple[int, NDArray[np.float64], NDArray[np.int64]]:
    """How many magnitudes lie above ``high``, and those from ``low`` to ``high`` with their places in the piece."""
    if vectors is None:
        stored, base = piece.stored(expert), piece.stored_base
        if stored.dtype.itemsize <= 4 and base.dtype.itemsize <= 4:
            # In float32 first, at half the cost: rounding keeps order, so only what lands between the rounded bounds
            # has to be looked at exactly.
            close = stored.float().sub(base.float()).abs_().cpu().numpy()
            over = close > _rounded(high, math.inf)
            near = np.flatnonzero((close >= _rounded(low, -math.inf)) ^ over)
            index = torch.from_numpy(near).to(stored.device)
            exact = (stored[index].double() - base[index].double()).abs_().cpu().numpy()
            above = int(np.count_nonzero(over)) + int(np.count_nonzero(exact > high))
            inside = (exact >= low) & (exact <= high)
            return above, exact[inside], near[inside]
    magnitudes = _magnitudes(piece, expert, vectors)
    over = magnitudes > high
    near = np.flatnonzero((magnitudes >= low) ^ over)
    return int(np.count_nonzero(over)), magnitudes[near], near


def positions(piece: Piece, index: NDArray[np.int64], offsets: Mapping[str, int]) -> NDArray[np.int64]:
    """Places in a piece as positions in the flattened task vector."""
    if len(piece.spans) == 1:
        name, start, _ = piece.spans[0]
        return index + (offsets[name] + start)
    begins = np.array([at for _, at, _ in laid_out(piece.spans)])
    shifts = np.array([offsets[name] + start for name, start, _ in piece.spans]) - begins
    return index + shifts[np.searchsorted(begins, index, side="right") - 1]


def _magnitudes(piece: Piece, expert: int, vectors: Vectors | None) -> NDArray[np.float64]:
    delta = piece.delta(expert) if vectors is None else vectors(piece, expert)
    return delta.abs().cpu().numpy()


def _rounded(value: float, towards: float) -> np.float32:
    """The nearest ``float32`` on one side."""
    near = np.float32(min(value, float(np.finfo(np.float32).max))) if math.isfinite(value) else np.float32(value)
    wrong = near < value if towards > 0 else near > value
    return np.nextafter(near, np.float32(towards)) if wrong else near


def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))


def _value(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))
