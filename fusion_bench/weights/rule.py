"""What a merging method tells the engine."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, TypeVar

from torch import Tensor

from fusion_bench.weights.header import Spec
from fusion_bench.weights.pieces import Piece

Result = TypeVar("Result")
Merge: TypeAlias = Callable[[Piece], Tensor]
"""Entries of the result from those of the inputs: flat ``float64``, as many as the piece has."""


@dataclass(frozen=True)
class Scan:
    """The whole model, for a rule that must know something about it before it merges.

    Attributes:
        experts: their names, sorted: the numbers of a piece's experts count through these.
        given: the same names in the order they came in, to which lists of weights refer.
        specs: the floating tensors, sorted by name: the order of the flattened task vector.
        offsets: where each begins in the flattened task vector.
        size: entries of the flattened task vector.
        memory: bytes that a rule may keep.
        map: ``map(function, stage)``: the function's value for every piece, in one order whatever the threads;
            pieces are cut at multiples of ``BLOCK`` entries of a tensor.
        sample: ``sample(function)``: the same for few pieces, spread evenly over the model.
    """

    experts: tuple[str, ...]
    given: tuple[str, ...]
    specs: Mapping[str, Spec]
    offsets: Mapping[str, int]
    size: int
    memory: int
    map: Callable[[Callable[[Piece], Result], str], list[Result]]
    sample: Callable[[Callable[[Piece], Result]], list[Result]]


class Rule(ABC):
    """A merging method as the engine runs it, in memory and from disk to disk alike.

    Class variables:
        step: the result is a merged task vector Δ, and the merged model θ₀ + ``scaling`` · Δ; else it is the model.
    """

    step: ClassVar[bool] = False

    @abstractmethod
    def prepare(self, scan: Scan) -> Merge:
        """The function that merges one piece, knowing what it must of the whole model.

        Where it has a method ``settle()``, that is called when all pieces are merged and some were deferred. It
        returns the answer that those waited for, and the pieces that were merged with another are merged once more.
        """

    def passes(self) -> int:
        """How often the inputs are read, at least."""
        return 1

    def whole(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape must be seen in one piece."""
        return False

    def held(self, shape: Sequence[int], experts: int) -> int:
        """How many ``float64`` numbers are held, at the most, while a whole tensor of that shape is merged."""
        return 4 * math.prod(shape)

    def needed(self, expert_names: Sequence[str]) -> Sequence[str]:
        """The experts that the rule looks at, so that others need not be read."""
        return expert_names
