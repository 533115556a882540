"""The experts' task vectors as a rule wants them, entry by entry: thinned, scaled, trimmed, added up.

Where the processor does the arithmetic, the compiled loops of ``compiled`` do; on another device the same operations in
the same order, by torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_bench.weights import compiled
from fusion_bench.weights.compiled.terms import ALWAYS, BLOCK, NO_CUT
from fusion_bench.weights.masks import bernoulli_mask, key_of, limit_of
from fusion_bench.weights.pieces import BASE, Piece
from fusion_bench.weights.spans import laid_out

_NEVER = np.iinfo(np.int64).max


class Cut(NamedTuple):
    """What survives trimming: magnitudes above ``threshold``, and those equal to it up to position ``last``.

    Positions count through the flattened task vector, tensors by name; ``last`` is None where all equal ones survive.
    """

    threshold: float
    last: int | None = None


class Thinning(NamedTuple):
    """Entries stay at random, with chance ``density``; see ``bernoulli_mask``."""

    density: float
    seed: int


@dataclass(frozen=True)
class Vectors:
    """One vector per model, as long as the whole model, of which pieces are worked out when asked for.

    In this order: θᵢ, or Δᵢ where ``centred``; thinned; multiplied with a factor; trimmed.

    Attributes:
        models: numbers of experts, or ``BASE``.
        centred: whether θ₀ is subtracted.
        thinning: None keeps all entries.
        factors: per model, one for all its tensors or one for each by name; None multiplies with nothing.
        cuts: per model; None keeps all entries.
        offsets: where each tensor begins in the flattened task vector; needed with ``cuts``.
        divisor: of ``total``, so that a mean is rounded once.
    """

    models: tuple[int, ...]
    centred: bool = True
    thinning: Thinning | None = None
    factors: tuple[float | Mapping[str, float], ...] | None = None
    cuts: tuple[Cut, ...] | None = None
    offsets: Mapping[str, int] | None = None
    divisor: float = 1.0

    def entries(self, piece: Piece, at: int) -> Tensor:
        """The vector of the model at a place among ``models``, ``float64``; not to be written to."""
        if piece.on_cpu:
            found = np.empty(piece.count)
            compiled.vector(self.terms(piece), at, found)
            return torch.from_numpy(found)
        entries = piece.stored(self.models[at]).double()
        if self.centred:
            entries = entries - piece.base
        if self.factors is not None:
            entries = entries * self._factor(piece, at, entries.device)
        if self.thinning is not None:
            entries = torch.where(self._mask(piece, at).to(entries.device), entries, 0.0)
        return entries if self.cuts is None else _trimmed(entries, self.cuts[at], piece, self.offsets or {})

    def total(self, piece: Piece) -> Tensor:
        """The sum of the vectors from the first to the last, over the divisor; ``float64``."""
        if piece.on_cpu:
            found = np.empty(piece.count)
            # what is not finite shows in a sum of everything, so the inputs need no look of their own
            plain = self.thinning is None and self.cuts is None
            if compiled.add_up(self.terms(piece, checked=not plain), float(self.divisor), found) and plain:
                piece.check(self._read())
            return torch.from_numpy(found)
        total = self.entries(piece, 0).clone()  # may be an input
        for at in range(1, len(self.models)):
            total += self.entries(piece, at)
        return total / self.divisor

    def magnitudes(self, piece: Piece) -> NDArray[np.float64]:
        """The sizes of the entries of all vectors: (models, entries)."""
        found = np.empty((len(self.models), piece.count))
        terms = self.terms(piece) if piece.on_cpu else None
        for at, row in enumerate(found):
            if terms is None:
                row[:] = self.entries(piece, at).cpu().numpy()
            else:
                compiled.vector(terms, at, row)
        return np.abs(found, out=found)

    def between(
        self, piece: Piece, bounds: Mapping[int, tuple[float, float]]
    ) -> dict[int, tuple[int, NDArray[np.float64], NDArray[np.int64]]]:
        """How many magnitudes are above an upper bound, and those from a lower bound to it, with their places.

        Args:
            piece: where.
            bounds: both bounds of some vectors, by their place among ``models``.
        """
        if not piece.on_cpu:
            found = {}
            for at, (low, high) in bounds.items():
                sizes = np.abs(self.entries(piece, at).cpu().numpy())
                places = np.flatnonzero((sizes >= low) & (sizes <= high))
                found[at] = int(np.count_nonzero(sizes > high)), sizes[places], places
            return found
        terms, which = self.terms(piece), np.array(list(bounds), dtype=np.int64)
        lows, highs = np.array(list(bounds.values())).T.copy()
        room, counts = piece.count // 64 + 64, np.zeros((len(which), 2), dtype=np.int64)
        while True:
            kept, where = np.empty((len(which), room)), np.empty((len(which), room), dtype=np.int64)
            compiled.survey(terms, which, lows, highs, kept, where, counts)
            if counts[:, 1].max() <= room:
                break
            room = int(counts[:, 1].max())  # more than there are where the bounds are close
        return {
            at: (int(above), kept[row, :inside].copy(), where[row, :inside].copy())
            for row, (at, (above, inside)) in enumerate(zip(bounds, counts, strict=True))
        }

    def magnitude_sums(self, piece: Piece) -> NDArray[np.float64]:
        """Σ |entry| of every vector over each block of each span: (blocks, models)."""
        if not piece.on_cpu:
            return block_sums(piece, [self.entries(piece, at).abs() for at in range(len(self.models))])
        sums, terms = np.empty((len(self.models), _blocks(piece))), self.terms(piece)
        for at, row in enumerate(sums):
            compiled.magnitude_sums(terms, at, row)
        return sums.T

    def terms(self, piece: Piece, *, checked: bool = True) -> compiled.Terms:
        """What the compiled loops are told."""
        rows = piece.rows(self._read(), checked=checked)
        spans, names = piece.spans, [piece.experts[model] if model != BASE else "" for model in self.models]
        count, keys = len(self.models), np.zeros((1, 1, 4), dtype=np.uint64)
        if self.thinning is not None:
            seed = self.thinning.seed
            keys = np.array([[key_of(seed, name, span.name) for span in spans] for name in names])
        return compiled.Terms(
            rows=rows[1:] if self.centred else rows,
            base=rows[0],
            centred=self.centred,
            bounds=bounds_of(piece),
            keys=keys,
            starts=np.array([span.start for span in spans], dtype=np.int64),
            limit=np.uint64(ALWAYS if self.thinning is None else limit_of(self.thinning.density)),
            factors=np.array([[1.0]] * count if self.factors is None else [_listed(f, piece) for f in self.factors]),
            cuts=np.array([NO_CUT] * count if self.cuts is None else [cut.threshold for cut in self.cuts]),
            edges=self._edges(piece),
        )

    def _read(self) -> tuple[int, ...]:
        return (BASE, *self.models) if self.centred else self.models

    def _edges(self, piece: Piece) -> NDArray[np.int64]:
        if self.cuts is None or all(cut.last is None for cut in self.cuts):
            return np.full((len(self.models), 1), _NEVER)
        offsets = self.offsets or {}
        return np.array([[edge for _, _, edge in _edges(cut, piece, offsets)] for cut in self.cuts], dtype=np.int64)

    def _factor(self, piece: Piece, at: int, device: torch.device) -> Tensor | float:
        assert self.factors is not None
        listed = _listed(self.factors[at], piece)
        if len(listed) == 1:
            return listed[0]
        counts = torch.tensor([stop - start for _, start, stop in piece.spans], device=device)
        return torch.tensor(listed, dtype=torch.float64, device=device).repeat_interleave(counts)

    def _mask(self, piece: Piece, at: int) -> Tensor:
        assert self.thinning is not None
        density, seed, name = *self.thinning, piece.experts[self.models[at]]
        return torch.cat(
            [
                bernoulli_mask(stop - start, density, seed=seed, expert=name, tensor=tensor, start=start)
                for tensor, start, stop in piece.spans
            ]
        )


def bounds_of(piece: Piece) -> NDArray[np.int64]:
    """Where the spans of a piece begin, and the last one ends, among its entries."""
    return np.cumsum([0, *(stop - start for _, start, stop in piece.spans)], dtype=np.int64)


def block_sums(piece: Piece, values: Sequence[Tensor]) -> NDArray[np.float64]:
    """The sums of several values per entry over each block of each span, (blocks, values), as ``compiled`` adds them.

    A block is ``BLOCK`` entries, the last of a span padded with zeros; halves are added to halves until one is left.
    """
    columns = []
    for value in values:
        parts = []
        for _, at, end in laid_out(piece.spans):
            padded = np.zeros(-(-(end - at) // BLOCK) * BLOCK)
            padded[: end - at] = value[at:end].cpu().numpy()
            blocks = padded.reshape(-1, BLOCK)
            while blocks.shape[1] > 1:
                half = blocks.shape[1] // 2
                blocks = blocks[:, :half] + blocks[:, half:]
            parts.append(blocks[:, 0])
        columns.append(np.concatenate(parts))
    return np.stack(columns, axis=1)


def pair_sums(piece: Piece, first: int, second: int) -> NDArray[np.float64]:
    """Σ a², Σ b², Σ (a − b)² and Σ (a + b)² of two models over each block of each span: (blocks, 4)."""
    if piece.on_cpu:
        a, b = piece.rows((first, second))
        sums = np.empty((_blocks(piece), 4))
        compiled.pair_sums(a, b, bounds_of(piece), sums)
        return sums
    one, other = piece.stored(first).double(), piece.stored(second).double()
    return block_sums(piece, [one.square(), other.square(), (one - other).square(), (one + other).square()])


def _blocks(piece: Piece) -> int:
    return sum(-(-(stop - start) // BLOCK) for _, start, stop in piece.spans)


def _listed(factor: float | Mapping[str, float], piece: Piece) -> list[float]:
    return [factor[name] for name, _, _ in piece.spans] if isinstance(factor, Mapping) else [factor]


def _edges(cut: Cut, piece: Piece, offsets: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Where each span begins and ends in the piece, and from where on what equals the threshold survives no more."""
    if cut.last is None:
        return [(at, end, _NEVER) for _, at, end in laid_out(piece.spans)]
    last = cut.last + 1
    return [
        (at, end, at + max(0, min(last - offsets[name] - start, end - at)))
        for (name, start, _), at, end in laid_out(piece.spans)
    ]


def _trimmed(entries: Tensor, cut: Cut, piece: Piece, offsets: Mapping[str, int]) -> Tensor:
    if cut.threshold < 0:
        return entries
    sizes = entries.abs()
    kept = torch.where(sizes < cut.threshold, 0.0, entries)
    if cut.last is not None:
        for _, end, edge in _edges(cut, piece, offsets):
            if edge < end:
                kept[edge:end] = torch.where(sizes[edge:end] <= cut.threshold, 0.0, entries[edge:end])
    return kept
