"""Merging in memory: state dicts in, a state dict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusion_bench.progress import Progress, silent
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.engine import NonFinite, execute
from fusion_bench.weights.fitting import OnMismatch
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.plan import MEMORY, Plan, make_plan
from fusion_bench.weights.rule import Rule
from fusion_bench.weights.spans import Span, laid_out
from fusion_bench.weights.state_dict import Experts, StateDict, named_experts


class MemorySink:
    """A state dict that is being filled."""

    def __init__(self, plan: Plan, *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> None:
        self._aliases = plan.aliases
        self._flat: dict[str, Tensor] = {}
        self._order = list(plan.specs)
        self._shapes = {name: spec.shape for name, spec in plan.specs.items()}
        for name, spec in plan.specs.items():
            floating = spec.dtype.is_floating_point
            if name not in plan.aliases and (dtype is None or floating):
                kind = dtype if dtype is not None and floating else spec.dtype
                self._flat[name] = torch.empty(spec.numel, dtype=kind, device=device)

    def write(self, spans: Sequence[Span], entries: Tensor) -> None:
        for (name, start, stop), first, last in laid_out(spans):
            self._flat[name][start:stop] = entries[first:last]

    def state(self) -> dict[str, Tensor]:
        """The result; tied names share one tensor."""
        made = {name: flat.reshape(self._shapes[name]) for name, flat in self._flat.items()}
        return {n: made[self._aliases.get(n, n)] for n in self._order if self._aliases.get(n, n) in made}


def merge_in_memory(
    rule: Rule,
    base: StateDict,
    experts: Experts | Sequence[StateDict],
    *,
    scaling: float | None,
    threads: int | None = None,
    chunk: int | None = None,
    memory: int = MEMORY,
    device: str | None = None,
    on_mismatch: OnMismatch = "error",
    on_non_finite: NonFinite = "error",
    progress: Progress = silent,
) -> dict[str, Tensor]:
    """Run a rule on state dicts, or on anything that maps names to tensors.

    Args:
        rule: the method.
        base: gives names, shapes, types, devices and what is not a floating tensor.
        experts: names to state dicts; a sequence gets its positions as names.
        scaling: λ of a rule that makes a task vector; None asks such a rule for the task vector, in ``float64``.
        threads, chunk, memory, on_mismatch: see ``make_plan``.
        device, on_non_finite: see ``execute``.
        progress: told how far the work is.

    Returns:
        New tensors, in the base's order.
    """
    models = named_experts(experts)
    given = list(experts) if isinstance(experts, Mapping) else list(models)
    plan = make_plan(
        open_checkpoint(base, label="base"),
        {name: open_checkpoint(models[name], label=f"expert {name!r}") for name in rule.needed(given)},
        rule,
        memory=memory,
        threads=threads,
        chunk=chunk,
        on_mismatch=on_mismatch,
    )
    where = base.device if isinstance(base, Checkpoint) else next((t.device for t in base.values()), None)
    vector = rule.step and scaling is None
    sink = MemorySink(plan, dtype=torch.float64 if vector else None, device=where)
    execute(plan, rule, sink, scaling=scaling, device=device, on_non_finite=on_non_finite, progress=progress)
    return sink.state()
