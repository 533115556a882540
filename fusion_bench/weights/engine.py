"""The driver of merge rules: from a plan to a result, piece by piece, in memory or to disk."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Progress, silent
from fusion_bench.weights import compiled
from fusion_bench.weights.compiled.fetch import all_finite
from fusion_bench.weights.finite import unravelled
from fusion_bench.weights.halves import HALVES, words_of
from fusion_bench.weights.heap import returning
from fusion_bench.weights.parallel import map_in_threads
from fusion_bench.weights.pieces import CHUNK, Piece
from fusion_bench.weights.plan import Plan, Unit, scan_units
from fusion_bench.weights.rule import Rule, Scan
from fusion_bench.weights.spans import Span, located

Result = TypeVar("Result")
NonFinite = Literal["error", "allow"]
_SAMPLED = 256  # pieces looked at by Scan.sample, and
_LOOKED = 1024  # entries of each
_KEPT = 4  # share of the memory budget that a rule may keep
_TIGHT = 256 * 2**20  # a budget that makes memory dearer than a few per cent of time
_COMPILED = (torch.float32, *HALVES)  # types that the compiled loops round to


class Sink(Protocol):
    """Where a result goes."""

    def write(self, spans: Sequence[Span], entries: Tensor) -> None:
        """Take the entries of some spans, in the type they are stored as."""


def execute(
    plan: Plan,
    rule: Rule,
    sink: Sink,
    *,
    scaling: float | None = None,
    device: str | None = None,
    on_non_finite: NonFinite = "error",
    progress: Progress = silent,
) -> None:
    """Merge.

    Args:
        plan: the inputs.
        rule: the method.
        sink: takes the result.
        scaling: λ of a rule that makes a task vector; None writes the task vector itself.
        device: where the arithmetic is done; where the tensors are, if None.
        on_non_finite: ``error`` refuses NaN and infinite entries, of the inputs and of the result.
        progress: told bytes of the result, or of a pass over the inputs.

    Raises:
        FusionBenchError: non-finite entries, files that change while they are read, no space.
    """
    run = _Run(plan, device, check=on_non_finite == "error")
    merge = rule.prepare(run.scan(progress))
    stores = _Store(plan, sink, rule.step, scaling, check=on_non_finite == "error")

    def step(unit: Unit) -> tuple[Unit, float] | None:
        piece = run.piece(unit)
        sound = stores(piece, merge(piece))
        return None if piece.deferred is None else (unit, piece.deferred if sound else math.nan)

    with returning(plan.memory < _TIGHT and bool(plan.wholes)):
        later = run.over(plan.wholes, step, threads=plan.whole_threads, stage="merge matrices", progress=progress)
    later += run.over(plan.chunks, step, threads=plan.threads, stage="merge", progress=progress)
    deferred = [each for each in later if each is not None]
    if deferred:
        answer = merge.settle()  # type: ignore[attr-defined]
        again = [unit for unit, used in deferred if used != answer]
        run.over(again, step, threads=plan.threads, stage="settle", progress=progress)
    if not (rule.step and scaling is None):
        for name in plan.copied:
            _copy(plan, name, sink)


class _Run:
    def __init__(self, plan: Plan, device: str | None, *, check: bool) -> None:
        self._plan = plan
        self._sound: frozenset[int] | None = frozenset() if check else None
        self._device = torch.device(device) if device is not None else None
        self._experts = tuple(plan.experts.items())
        self._buffer = threading.local()

    def piece(self, unit: Unit) -> Piece:
        return Piece(
            unit.spans,
            self._plan.base,
            self._experts,
            shape=unit.shape,
            device=self._device,
            buffer=self._buffer,
            sound=self._sound,
        )

    def over(
        self,
        units: Sequence[Unit],
        function: Callable[[Unit], Result],
        *,
        threads: int,
        stage: str,
        progress: Progress = silent,
    ) -> list[Result]:
        if not units:
            return []

        def tick(done: int) -> None:
            progress(stage, done, len(units))

        return map_in_threads(function, units, threads=threads, tick=tick, blas=units[0].shape is not None)

    def scan(self, progress: Progress) -> Scan:
        plan = self._plan
        specs = {name: plan.base.specs[name] for name in sorted(plan.floating)}
        offsets, size = {}, 0
        for name, spec in specs.items():
            offsets[name] = size
            size += spec.numel

        def go(function: Callable[[Piece], Result], stage: str) -> list[Result]:
            # one set for all pieces that loaded the same: a large model would have thousands of equal ones
            kinds: dict[frozenset[int], frozenset[int]] = {}

            def step(unit: Unit) -> tuple[Result, frozenset[int]]:
                piece = self.piece(unit)
                result, loaded = function(piece), frozenset(piece.loaded)
                return result, kinds.setdefault(loaded, loaded)

            found = self.over(scan_units(plan), step, threads=plan.threads, stage=stage, progress=progress)
            if self._sound is not None and found:  # what has been read from end to end needs no second look
                self._sound |= frozenset.intersection(*kinds)
            return [result for result, _ in found]

        def sample(function: Callable[[Piece], Result]) -> list[Result]:
            units = _spread(scan_units(plan))
            return self.over(units, lambda u: function(self.piece(u)), threads=plan.threads, stage="sample")

        return Scan(tuple(plan.experts), plan.given, specs, offsets, size, plan.memory // _KEPT, go, sample)


def _spread(units: Sequence[Unit]) -> list[Unit]:
    """Few places evenly over all: of each unit, or of units some way apart, a few entries."""
    step = -(-len(units) // _SAMPLED)
    small = []
    for unit in units[::step]:
        spans, held = [], 0
        for name, start, stop in unit.spans:
            if held < _LOOKED:
                spans.append(Span(name, start, min(stop, start + _LOOKED - held)))
                held += spans[-1].stop - start
        small.append(Unit(tuple(spans)))
    return small


class _Store:
    """Rounds what a rule returns to the type it is stored as, and hands it on."""

    def __init__(self, plan: Plan, sink: Sink, step: bool, scaling: float | None, *, check: bool) -> None:
        self._plan, self._sink, self._step, self._scaling, self._check = plan, sink, step, scaling, check

    def __call__(self, piece: Piece, result: Tensor) -> bool:
        """Store a piece; returns False where a deferred one is not finite, which the final answer may mend.

        Raises:
            FusionBenchError: any other is not finite, or has another size than its piece.
        """
        if result.numel() != piece.count:
            shapes = f"{piece.count:,} entries of {piece.spans[0].name!r} into {result.numel():,}"
            raise FusionBenchError(f"the merge rule turned {shapes}")
        result, at, sound = result.reshape(-1), 0, True
        for part in piece.parts(CHUNK) if piece.count else ():
            sound &= self._store(part, result[at : at + part.count], final=piece.deferred is None)
            at += part.count
        return sound

    def _store(self, piece: Piece, result: Tensor, *, final: bool) -> bool:
        dtype = self._plan.specs[piece.spans[0].name].dtype
        if self._step and self._scaling is not None:
            stored, sound = stepped(piece.stored_base, result, self._scaling, dtype)
        else:
            stored, sound = narrowed(result, torch.float64 if self._step else dtype)
        if self._check and not sound and final:
            self._refuse_overflow(piece.spans, stored, dtype)
        self._sink.write(piece.spans, stored)
        return sound or not self._check

    def _refuse_overflow(self, spans: Sequence[Span], stored: Tensor, dtype: torch.dtype) -> None:
        name, entry = located(spans, int((~stored.isfinite()).nonzero()[0]))
        index = unravelled(entry, self._plan.specs[name])
        raise FusionBenchError(
            f"the merged model: tensor {name!r} is not finite in {dtype} at {index}",
            hint="the method divides by 0, or overflows the type: try a smaller scaling or a wider dtype",
        )


def stepped(base: Tensor, vector: Tensor, scaling: float, dtype: torch.dtype) -> tuple[Tensor, bool]:
    """θ₀ + λΔ, worked out in ``float64`` and rounded, and whether that is finite everywhere.

    An entry that does not move keeps the base's bits.

    Args:
        base: θ₀, flat.
        vector: Δ, flat ``float64``.
        scaling: λ.
        dtype: of the result.

    Example:
        >>> stepped(torch.tensor([1.0, -0.0]), torch.tensor([1.0, 0.0]).double(), 0.5, torch.float32)
        (tensor([1.5000, -0.0000]), True)
    """
    if dtype in _COMPILED and base.device.type == "cpu":
        entries = base.float() if base.dtype in HALVES else base
        found = np.empty(base.numel(), dtype=np.float32)
        return _rounded(found, compiled.stepped(entries.numpy(), vector.numpy(), scaling, found), dtype)
    # −0.0 + 0.0 is 0.0, but −0.0 − 0.0 is −0.0
    return narrowed(base.double() - (0.0 - vector * scaling), dtype)


def narrowed(entries: Tensor, dtype: torch.dtype) -> tuple[Tensor, bool]:
    """Flat entries rounded to a type, and whether they are finite everywhere.

    To half precision they are rounded through ``float32``, as if computed in it.

    Args:
        entries: ``float64``, or ``float32`` from a rule that works in that.

    Example:
        >>> narrowed(torch.tensor([1 / 3, 1e39]).double(), torch.float32)
        (tensor([0.3333,    inf]), False)
    """
    if dtype in _COMPILED and entries.device.type == "cpu" and entries.dtype == torch.float64:
        found = np.empty(entries.numel(), dtype=np.float32)
        return _rounded(found, compiled.narrowed(entries.contiguous().numpy(), found), dtype)
    stored = entries.double() if dtype == torch.float64 else entries.float().to(dtype)
    return stored, bool(stored.isfinite().all())


def _rounded(entries: NDArray[np.float32], odd: int, dtype: torch.dtype) -> tuple[Tensor, bool]:
    """Entries of which some are not finite, in the type they are stored as, and whether all are finite in that."""
    stored = torch.from_numpy(entries)
    if dtype == torch.float32:
        return stored, odd == 0
    stored = stored.to(dtype)
    return stored, odd == 0 and all_finite(words_of(stored), HALVES[dtype])


def _copy(plan: Plan, name: str, sink: Sink) -> None:
    count = plan.specs[name].numel
    for start in range(0, count, plan.memory // 8):
        span = Span(name, start, min(count, start + plan.memory // 8))
        sink.write([span], plan.base.gather([span]))
