"""Tensors that are not fused but carried over from the base, and in which the models differ."""

from __future__ import annotations

import numpy as np

from fusion_bench.weights.plan import Plan
from fusion_bench.weights.spans import Span

_SHOWN = 5  # names in a note
_HELD = 32  # bytes, at the most, that are held for an entry while two models are compared


def differing(plan: Plan) -> list[str]:
    """The tensors that are not floating (counters, indices, masks) of which an expert has other values than the base.

    They are read for that, in pieces; types of another width are compared by value.

    Args:
        plan: of the merge.

    Returns:
        Their names, in the order of the base's data.
    """
    step = max(1, plan.memory // _HELD)
    return [name for name in plan.copied if _differs(plan, name, step)]


def carried_note(names: list[str]) -> list[str]:
    """What a report says of them; nothing where there are none.

    Example:
        >>> carried_note(["bn.num_batches_tracked"])
        ["1 tensor that is not floating differs between the models; the base's is kept: 'bn.num_batches_tracked'"]
    """
    if not names:
        return []
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    which = f"{', '.join(map(repr, names[:_SHOWN]))}{more}"
    if len(names) == 1:
        return [f"1 tensor that is not floating differs between the models; the base's is kept: {which}"]
    return [f"{len(names):,} tensors that are not floating differ between the models; the base's are kept: {which}"]


def _differs(plan: Plan, name: str, step: int) -> bool:
    count = plan.base.specs[name].numel
    for start in range(0, count, step):
        span = Span(name, start, min(count, start + step))
        own = plan.base.gather([span]).cpu().numpy()
        for expert in plan.experts.values():  # NumPy compares whole numbers of all types by value
            if not np.array_equal(own, expert.gather([span]).cpu().numpy()):
                return True
    return False
