"""How long a merge will take, from a small one: the rule itself, run on a few places of the inputs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from torch import Tensor

from fusion_bench.algorithms.base import MergingAlgorithm
from fusion_bench.weights.checkpoint import Checkpoint, StateCheckpoint
from fusion_bench.weights.engine import execute
from fusion_bench.weights.plan import Plan, Unit, make_plan
from fusion_bench.weights.spans import Span

_PLACES = 8


class _Nowhere:
    """A sink that keeps nothing."""

    def write(self, spans: Sequence[Span], entries: Tensor) -> None:
        pass


def estimated_seconds(plan: Plan, rule: MergingAlgorithm, device: str | None) -> float:
    """Seconds from the first byte read to the last one written, as far as a sample tells.

    Slices from all over the model are merged as a model of their own; of the tensors that the rule needs whole, one of
    every shape is. The time to read them counts once per pass. What the disk takes to write is not in it.

    Args:
        plan: of the whole merge.
        rule: the method.
        device: see ``execute``.
    """
    units = plan.chunks[:: max(1, len(plan.chunks) // _PLACES)][:_PLACES]
    groups: dict[tuple[int, ...], list[Unit]] = {}
    for unit in plan.wholes:
        groups.setdefault(unit.shape or (), []).append(unit)
    total = 0.0
    if units:
        every = sum(plan.base.specs[name].numel for name in plan.floating)
        total += _timed(units, plan, rule, plan.threads, device) * (every - _entries(plan.wholes)) / _entries(units)
    for shape, alike in groups.items():
        total += _timed(alike[:1], plan, rule, 1, device, shape) * len(alike) / plan.whole_threads
    return total


def _timed(
    units: Sequence[Unit],
    plan: Plan,
    rule: MergingAlgorithm,
    threads: int,
    device: str | None,
    shape: tuple[int, ...] | None = None,
) -> float:
    began = time.perf_counter()
    base = StateCheckpoint(_part(plan.base, units, shape), label=plan.base.label)
    experts = {
        name: StateCheckpoint(_part(model, units, shape), label=model.label) for name, model in plan.experts.items()
    }
    reading = (time.perf_counter() - began) * rule.passes() / threads
    small = make_plan(base, experts, rule, memory=plan.memory, threads=threads)
    seconds = 0.0
    for _ in range(2):  # the first time compiled code is loaded
        began = time.perf_counter()
        execute(small, rule, _Nowhere(), scaling=rule.step_size, device=device, on_non_finite="allow")
        seconds = time.perf_counter() - began
    return reading + seconds


def _part(model: Checkpoint, units: Sequence[Unit], shape: tuple[int, ...] | None) -> Mapping[str, Tensor]:
    found = {}
    for number, unit in enumerate(units):
        for span in unit.spans:
            entries = model.gather([span])
            found[f"{number} {span.name}"] = entries.reshape(shape) if shape is not None else entries
    return found


def _entries(units: Sequence[Unit]) -> int:
    return sum(span.stop - span.start for unit in units for span in unit.spans)
