"""What a merge rule sees of the models: a few entries of each, at one place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_bench.weights.checkpoint import Checkpoint, Factors
from fusion_bench.weights.compiled.fetch import all_finite
from fusion_bench.weights.finite import looks_finite, refuse_non_finite
from fusion_bench.weights.rows import fill_rows
from fusion_bench.weights.spans import Span

CHUNK = 1 << 17  # entries: enough to hide Python's part in the work, few enough for a processor's cache
BASE = -1  # the number of the base, where experts have theirs


class Piece:
    """The entries of one place in the base and in every expert, as flat ``float64`` tensors read when asked for.

    Attributes:
        spans: which entries of which tensors, one after the other.
        shape: of the tensor, where the piece is all of it and the rule asked for that; else None.
        experts: the experts' names, sorted.
        loaded: which checkpoints have been read from, and found to hold finite entries if that is asked for, by ``id``.
        deferred: the answer that was used in advance, see ``defer``.

    Args:
        buffer: a thread's own memory for what it reads, used again by its next piece.
        sound: checkpoints known to hold finite entries only, by ``id``; None looks at none.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        base: Checkpoint,
        experts: Sequence[tuple[str, Checkpoint]],
        *,
        shape: tuple[int, ...] | None = None,
        device: torch.device | None = None,
        buffer: threading.local | None = None,
        sound: frozenset[int] | None = frozenset(),
    ) -> None:
        self.spans, self.shape = spans, shape
        self.experts = tuple(name for name, _ in experts)
        self._base, self._checkpoints = base, [checkpoint for _, checkpoint in experts]
        self._device, self._sound, self._buffer, self._local = device, sound, buffer, buffer
        self.loaded: set[int] = set()
        self._stored_base: Tensor | None = None
        self._working_base: Tensor | None = None
        self._rows: dict[tuple[int, ...], NDArray[np.floating]] = {}
        self.deferred: float | None = None

    @property
    def count(self) -> int:
        """How many entries."""
        return sum(stop - start for _, start, stop in self.spans)

    @property
    def wide(self) -> bool:
        """Whether any model stores the tensors here in ``float64``."""
        models = (self._base, *self._checkpoints)
        return any(model.specs[self.spans[0].name].dtype == torch.float64 for model in models)

    def parts(self, entries: int) -> Iterator[Piece]:
        """The same place in pieces of at most so many entries, one after the other; this one is not read meanwhile.

        A piece that is small enough is its own only part, so that what it has read is not read again.
        """
        if self.count <= entries:
            yield self
            return
        for name, start, stop in self.spans:
            for at in range(start, stop, entries):
                yield self.elsewhere([Span(name, at, min(at + entries, stop))], buffer=self._buffer)

    def by_parts(self, function: Callable[[Piece], Tensor], entries: int) -> Tensor:
        """What a function makes of each part, one after the other: as many entries as the piece has."""
        if self.count <= entries:
            return function(self)
        found: Tensor | None = None
        at = 0
        for part in self.parts(entries):
            made = function(part)
            if found is None:
                found = torch.empty(self.count, dtype=made.dtype, device=made.device)
            found[at : at + part.count] = made
            at += part.count
        assert found is not None
        return found

    def elsewhere(self, spans: Sequence[Span], *, buffer: threading.local | None = None) -> Piece:
        """Other entries of the same models."""
        models = list(zip(self.experts, self._checkpoints, strict=True))
        return Piece(spans, self._base, models, device=self._device, buffer=buffer, sound=self._sound)

    @property
    def base(self) -> Tensor:
        """θ₀; not to be written to."""
        if self._working_base is None:
            # a copy in any case: what is stored may be in a buffer that serves the next piece, too
            self._working_base = self.stored_base.to(torch.float64, copy=True)
        return self._working_base

    def weights(self, number: int) -> Tensor:
        """θᵢ of the expert of that number; not to be written to."""
        return self._load(self._checkpoints[number]).double()

    def delta(self, number: int) -> Tensor:
        """Δᵢ = θᵢ − θ₀ of the expert of that number; a tensor of the caller's own."""
        stored = self._load(self._checkpoints[number])
        return stored - self.base if stored.dtype == torch.float64 else stored.double().sub_(self.base)

    def deltas(self) -> list[Tensor]:
        """Δᵢ of every expert, in the order of their names."""
        return [self.delta(number) for number in range(len(self.experts))]

    def factors(self, number: int) -> Factors | None:
        """Δᵢ as a product of two thin matrices, where the expert is stored so and the piece is one whole tensor."""
        return self._checkpoints[number].factors(self.spans[0].name) if self.shape is not None else None

    def stored(self, number: int) -> Tensor:
        """θᵢ as it is stored; θ₀ for ``BASE``."""
        return self.stored_base if number == BASE else self._load(self._checkpoints[number])

    @property
    def on_cpu(self) -> bool:
        """Whether the arithmetic is done by the processor."""
        return self.device.type == "cpu"

    @property
    def device(self) -> torch.device:
        """Where the arithmetic is done."""
        return self._device or self._base.device

    def rows(self, numbers: Sequence[int], *, checked: bool = True) -> NDArray[np.floating]:
        """Several models' entries, a row each: ``float32`` where that holds all of their types exactly.

        Not to be written to, and to be used before the thread goes on to another piece: rows may share a buffer.

        Args:
            numbers: which models.
            checked: whether entries that are not finite are refused, if that is what the run does.
        """
        models = [self._base if number == BASE else self._checkpoints[number] for number in numbers]
        name, key = self.spans[0].name, tuple(numbers)
        if key in self._rows and (not checked or self.loaded.issuperset(map(id, models))):
            return self._rows[key]
        wide = any(model.specs[name].dtype == torch.float64 for model in models)
        found = self._room(len(models), self.count, np.float64 if wide else np.float32)
        fill_rows(models, self.spans, found, self._local)
        if checked:
            known = self._sound is None or self._sound.issuperset(map(id, models))
            if not known and not all_finite(found):
                self._refuse(models, found)
            self.loaded.update(map(id, models))
        if BASE in numbers and self._stored_base is None:
            self._stored_base = torch.from_numpy(found[numbers.index(BASE)])
        self._rows[key] = found
        return found

    def check(self, numbers: Sequence[int]) -> None:
        """Refuse entries that are not finite, if that is what the run does."""
        self.rows(numbers)

    def _refuse(self, models: Sequence[Checkpoint], rows: NDArray[np.floating]) -> None:
        for row, model in zip(rows, models, strict=True):
            refuse_non_finite(torch.from_numpy(row), self.spans, model)

    def _room(self, rows: int, columns: int, kind: type[np.floating]) -> NDArray[np.floating]:
        """The thread's buffer, which stays in the processor's cache; other memory if the piece has that already."""
        size = rows * columns * np.dtype(kind).itemsize
        if self._buffer is None:
            return np.empty((rows, columns), dtype=kind)
        if getattr(self._buffer, "bytes", None) is None or self._buffer.bytes.size < size:
            self._buffer.bytes = np.empty(size, dtype=np.uint8)
        room: NDArray[np.floating] = self._buffer.bytes[:size].view(kind).reshape(rows, columns)
        self._buffer = None
        return room

    @property
    def stored_base(self) -> Tensor:
        """θ₀ in the type it is stored in, or one that holds it exactly."""
        if self._stored_base is None:
            self._stored_base = self._load(self._base)
        return self._stored_base

    def defer(self, answer: float) -> None:
        """Ask for this piece to be merged once more, unless the whole model's answer proves to be the one used here."""
        self.deferred = answer

    def _load(self, checkpoint: Checkpoint) -> Tensor:
        entries = checkpoint.gather(self.spans)
        if self._device is not None:
            entries = entries.to(self._device)
        self._check(checkpoint, entries)
        return entries

    def _check(self, checkpoint: Checkpoint, entries: Tensor) -> None:
        if self._sound is not None and id(checkpoint) not in self._sound and not looks_finite(entries):
            refuse_non_finite(entries, self.spans, checkpoint)
        self.loaded.add(id(checkpoint))
