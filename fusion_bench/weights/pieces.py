"""What a merge rule sees of the models: a few entries of each, at one place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import Checkpoint, Factors, Span, located
from fusion_bench.weights.header import Spec


BASE = -1  # the number of the base, where experts have theirs


class Piece:
    """The entries of one place in the base and in every expert, as flat ``float64`` tensors read when asked for.

    Attributes:
        spans: which entries of which tensors, one after the other.
        shape: of the tensor, where the piece is all of it and the rule asked for that; else None.
        experts: the experts' names, sorted.
        loaded: which checkpoints have been read from, by ``id``.

    Args:
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
        sound: frozenset[int] | None = frozenset(),
    ) -> None:
        self.spans, self.shape = spans, shape
        self.experts = tuple(name for name, _ in experts)
        self._base, self._checkpoints = base, [checkpoint for _, checkpoint in experts]
        self._device, self._sound = device, sound
        self.loaded: set[int] = set()
        self._stored_base: Tensor | None = None
        self._working_base: Tensor | None = None
        self.deferred = False

    @property
    def count(self) -> int:
        """How many entries."""
        return sum(stop - start for _, start, stop in self.spans)

    @property
    def base(self) -> Tensor:
        """θ₀; not to be written to."""
        if self._working_base is None:
            self._working_base = self.stored_base.double()
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
        return (self._device or self._base.device).type == "cpu"

    def rows(self, numbers: Sequence[int]) -> Tensor:
        """Several models' entries, a row each: ``float32`` where that holds all of their types exactly."""
        models = [self._base if number == BASE else self._checkpoints[number] for number in numbers]
        kinds = {model.specs[self.spans[0].name].dtype for model in models}
        dtype = torch.float64 if torch.float64 in kinds else torch.float32
        found = torch.empty((len(models), self.count), dtype=dtype)
        for row, number, model in zip(found, numbers, models, strict=True):
            if number == BASE and (self._stored_base is not None or dtype != model.specs[self.spans[0].name].dtype):
                row.copy_(self.stored_base)
                continue
            model.fill(self.spans, row)
            self._check(model, row)
            if number == BASE:
                self._stored_base = row
        return found

    @property
    def stored_base(self) -> Tensor:
        """θ₀ as it is stored."""
        if self._stored_base is None:
            self._stored_base = self._load(self._base)
        return self._stored_base

    def defer(self) -> None:
        """Ask for this piece to be merged once more when the whole model has been gone through."""
        self.deferred = True

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


def looks_finite(entries: Tensor) -> bool:
    """Whether the sum of squares is finite; False also where finite entries overflow it.

    Example:
        >>> looks_finite(torch.ones(3)), looks_finite(torch.tensor([1.0, float("inf")]))
        (True, False)
    """
    if entries.dtype in (torch.float16, torch.float8_e4m3fn, torch.float8_e5m2):
        entries = entries.float()  # squares of half precision overflow all the time
    return math.isfinite(float(torch.dot(entries, entries)))


def refuse_non_finite(entries: Tensor, spans: Sequence[Span], checkpoint: Checkpoint) -> None:
    """Raise where an entry is NaN or infinite, naming tensor, file and position.

    Raises:
        FusionBenchError: there is one.
    """
    bad = ~entries.isfinite()
    if not bool(bad.any()):
        return
    first = int(bad.nonzero()[0])
    name, entry = located(spans, first)
    index = unravelled(entry, checkpoint.specs[name])
    raise FusionBenchError(
        f"{checkpoint.place(name)}: tensor {name!r} has a non-finite entry at {index}: {float(entries[first])}",
        hint="the checkpoint is damaged, or its training diverged",
    )


def unravelled(position: int, spec: Spec) -> list[int]:
    """The indices of an entry of a flattened tensor.

    Example:
        >>> unravelled(5, Spec((2, 3), torch.float32))
        [1, 2]
    """
    index: list[int] = []
    for size in reversed(spec.shape):
        position, rest = divmod(position, size)
        index.insert(0, rest)
    return index
