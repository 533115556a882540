"""What a merge will read, compute and write, known from shapes alone."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import torch

from fusion_bench.errors import FusionBenchError
from fusion_bench.memory import BUDGET
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.compiled.terms import BLOCK
from fusion_bench.weights.fitting import OnMismatch, check_real, fit
from fusion_bench.weights.header import Spec
from fusion_bench.weights.pieces import CHUNK
from fusion_bench.weights.rule import Rule
from fusion_bench.weights.spans import Span

MEMORY = BUDGET
_LEAST = 64_000_000
_TEMPORARIES = 6  # float64 values per entry that a rule holds beside its inputs
_SPARE = 8  # times the largest whole tensor as float32: what may be held beside the budget


class Unit(NamedTuple):
    """The work of one step: spans of tensors, or one whole tensor, then with its shape."""

    spans: tuple[Span, ...]
    shape: tuple[int, ...] | None = None


class Slices(NamedTuple):
    """A large tensor, to be cut into units of ``chunk`` entries."""

    name: str
    numel: int
    chunk: int


class Units(Sequence[Unit]):
    """Units of work, of which those that are slices are made when asked for: a large model has very many.

    Example:
        >>> units = Units([Unit((Span("a", 0, 3),)), Slices("b", 10, 4)])
        >>> len(units), units[-1].spans
        (4, (Span(name='b', start=8, stop=10),))
    """

    def __init__(self, parts: Iterable[Unit | Slices]) -> None:
        self._parts = tuple(parts)
        counts = (-(-part.numel // part.chunk) if isinstance(part, Slices) else 1 for part in self._parts)
        self._ends = list(itertools.accumulate(counts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, number: int) -> Unit: ...
    @overload
    def __getitem__(self, number: slice) -> list[Unit]: ...
    def __getitem__(self, number: int | slice) -> Unit | list[Unit]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        place = bisect.bisect_right(self._ends, number)
        part = self._parts[place]
        if not isinstance(part, Slices):
            return part
        start = (number - (self._ends[place - 1] if place else 0)) * part.chunk
        return Unit((Span(part.name, start, min(start + part.chunk, part.numel)),))


@dataclass(frozen=True)
class Plan:
    """Inputs that fit each other, cut into units of work.

    Attributes:
        base, experts: the inputs; the experts sorted by name.
        given: the experts' names in the order they came in.
        specs: of the result: every tensor of the base, floating ones in the type they are stored as.
        chunks: floating tensors in pieces, in the order of the base's data.
        wholes: floating tensors that the rule must see in one piece.
        copied: tensors that are not floating.
        aliases: names that are another name's tensor.
        chunk: entries of a piece.
        threads: that work on chunks; ``whole_threads`` on whole tensors.
        memory: the budget, bytes.
        held: what whole tensors may take where that is more, bytes.
        notes: what was decided when the inputs were opened, and done about tensors that did not fit.
    """

    base: Checkpoint
    experts: Mapping[str, Checkpoint]
    given: tuple[str, ...]
    specs: Mapping[str, Spec]
    chunks: Units
    wholes: tuple[Unit, ...]
    copied: tuple[str, ...]
    aliases: Mapping[str, str]
    chunk: int
    threads: int
    whole_threads: int
    memory: int
    held: int
    notes: tuple[str, ...]

    @property
    def floating(self) -> list[str]:
        """The tensors that are merged, in the order of the base's data."""
        return _floating(self.base, self.aliases)

    @property
    def input_bytes(self) -> int:
        """Bytes of the inputs, each counted once."""
        tables = [checkpoint.specs for checkpoint in (self.base, *self.experts.values())]
        known = {id(table): table for table in tables}  # models of one layout share one table
        sizes = {key: sum(spec.nbytes for spec in table.values()) for key, table in known.items()}
        return sum(sizes[id(table)] for table in tables)

    @property
    def output_bytes(self) -> int:
        """Bytes of the result's tensors."""
        return sum(spec.nbytes for spec in self.specs.values())

    def close(self) -> None:
        """Give the inputs' files back."""
        for checkpoint in (self.base, *self.experts.values()):
            checkpoint.close()


def make_plan(
    base: Checkpoint,
    experts: Mapping[str, Checkpoint],
    rule: Rule,
    *,
    memory: int = MEMORY,
    threads: int | None = None,
    chunk: int | None = None,
    dtype: torch.dtype | None = None,
    on_mismatch: OnMismatch = "error",
) -> Plan:
    """Check the inputs against each other and cut them into units of work.

    Args:
        base: gives names, shapes, types and what is not a floating tensor.
        experts: by name.
        rule: what will be done.
        memory: bytes that the merge may hold beside its inputs and its result, at least 64 MiB.
        threads: as many as the machine has cores, if None.
        chunk: entries of a piece, if not what ``memory`` and the cache suggest.
        dtype: of the result's floating tensors; the base's own if None.
        on_mismatch: what to do about tensors that do not fit.

    Raises:
        FusionBenchError: inputs that do not fit each other, or options out of range.
    """
    if memory < _LEAST:
        raise FusionBenchError(f"memory={memory:,} bytes is too little", hint=f"give at least {_LEAST:,} (64MB)")
    threads = _count("threads", threads, os.cpu_count() or 1)
    check_real(base)
    fitted, notes = {}, list(base.notes)
    for name in sorted(experts):
        check_real(experts[name])
        notes += experts[name].notes
        fitted[name], told = fit(experts[name], base, on_mismatch=on_mismatch)
        notes += told
    aliases = _aliases(base, fitted)
    floating = _floating(base, aliases)
    whole = {name for name in floating if rule.whole(base.specs[name].shape)}
    per_entry = 8 * (len(fitted) + 1) * 2 + 8 * _TEMPORARIES
    if chunk is None:
        chunk = min(CHUNK, max(BLOCK, memory // 2 // threads // per_entry // BLOCK * BLOCK))
    largest = max((base.specs[name].numel * 4 for name in whole), default=0)
    held = max((8 * rule.held(base.specs[name].shape, len(fitted)) for name in whole), default=0)
    whole_threads = max(1, min(threads, (memory + _SPARE * largest) // max(1, held)))
    return Plan(
        base=base,
        experts=fitted,
        given=tuple(experts),
        specs=_stored(base, dtype),
        chunks=Units(_cut(base, fitted, [n for n in floating if n not in whole], _count("chunk", chunk, CHUNK))),
        wholes=tuple(
            Unit((Span(name, 0, base.specs[name].numel),), base.specs[name].shape) for name in floating if name in whole
        ),
        copied=tuple(n for n, spec in base.specs.items() if not spec.dtype.is_floating_point and n not in aliases),
        aliases=aliases,
        chunk=chunk,
        threads=threads,
        whole_threads=whole_threads,
        held=max(memory, whole_threads * held),
        memory=memory,
        notes=tuple(notes),
    )


def scan_units(plan: Plan) -> Units:
    """All floating tensors in pieces that begin and end at multiples of ``BLOCK``, or at the end of a tensor."""
    chunk = -(-plan.chunk // BLOCK) * BLOCK
    if chunk == plan.chunk and not plan.wholes:
        return plan.chunks
    return Units(_cut(plan.base, plan.experts, plan.floating, chunk))


def _floating(base: Checkpoint, aliases: Mapping[str, str]) -> list[str]:
    return [name for name, spec in base.specs.items() if spec.dtype.is_floating_point and name not in aliases]


def _cut(
    base: Checkpoint, experts: Mapping[str, Checkpoint], names: Sequence[str], chunk: int
) -> Iterator[Unit | Slices]:
    """Large tensors in slices, small ones next to each other in one unit where all models store them alike."""
    others = [expert.specs for expert in experts.values() if expert.specs is not base.specs]
    group: list[Span] = []
    held, kind = 0, None
    for name in names:
        spec = base.specs[name]
        count = spec.numel
        here = (spec.dtype, *(specs[name].dtype for specs in others)) if others else spec.dtype
        if group and (held + count > chunk or here != kind):
            yield Unit(tuple(group))
            group, held = [], 0
        if count > chunk:
            yield Slices(name, count, chunk)
        elif count:
            group.append(Span(name, 0, count))
            held, kind = held + count, here
    if group:
        yield Unit(tuple(group))


def _aliases(base: Checkpoint, experts: Mapping[str, Checkpoint]) -> dict[str, str]:
    """Ties that every input has."""
    shared = dict(base.aliases)
    for expert in experts.values():
        if shared:
            theirs = expert.aliases
            shared = {name: first for name, first in shared.items() if theirs.get(name) == first}
    return shared


def _stored(base: Checkpoint, dtype: torch.dtype | None) -> Mapping[str, Spec]:
    if dtype is None:
        return base.specs
    if not dtype.is_floating_point:
        raise FusionBenchError(f"dtype {dtype} holds no floating numbers", hint="float32, bfloat16 or float16")
    return {n: s._replace(dtype=dtype) if s.dtype.is_floating_point else s for n, s in base.specs.items()}


def _count(name: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if type(value) is not int or value < 1:
        raise FusionBenchError(f"{name} = {value!r}", hint="give a whole number, at least 1")
    return value
