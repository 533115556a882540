"""Experts that score below what they were trained from: rarely a result, mostly a way of asking that misses them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.paired import paired_difference
from fusion_bench.metrics.predictions import Predictions

CHANCE = 0.05
"""Below this p-value the difference is told as one that is not chance."""


def below_base(
    base: Mapping[str, Predictions],
    experts: Mapping[str, Predictions],
    *,
    names: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """A message for each task whose expert scores lower than the base on the same examples.

    It says whether that may be chance: p is of the paired test of `paired_difference`, one-sided, a task at a time and
    not corrected for their number.

    Args:
        base: what the base predicts, by task.
        experts: what each task's own expert predicts; tasks without one are left out.
        names: of those experts, by task; a message tells a name that is not the task's.

    Returns:
        Messages in the order of ``experts``, none where every expert is as good as the base.

    Raises:
        FusionBenchError: a task that the base was not evaluated on, or by another metric or on other examples.

    Example:
        >>> def answers(right):
        ...     n = np.arange(len(right))
        ...     return Predictions("qa", n, np.ones(len(right), int), np.array(right), None, None, metric="exact_match")
        >>> good, bad = answers([1] * 8 + [0] * 4), answers([0] * 12)
        >>> print(below_base({"qa": good}, {"qa": bad})[0].partition(": that")[0])
        qa: the expert scores 0.0000 (exact_match), its base 0.6667, which is not chance (p = 0.0039)
        >>> below_base({"qa": bad}, {"qa": good})
        []
    """
    found = []
    for task, expert in experts.items():
        if task not in base:
            raise FusionBenchError(f"the base was not evaluated on {task!r}", hint="evaluate it on every task")
        before = base[task]
        if before.metric != expert.metric or not np.array_equal(before.index, expert.index):
            raise FusionBenchError(
                f"{task!r}: base and expert were scored by {before.metric} and {expert.metric}, or on other examples",
                hint="evaluate both on the same examples",
            )
        if expert.value < before.value:
            name = names.get(task, task)
            found.append(_message(task, "the expert" if name == task else f"the expert {name}", before, expert))
    return found


def _message(task: str, who: str, base: Predictions, expert: Predictions) -> str:
    scores = f"{task}: {who} scores {expert.value:.4f} ({expert.metric}), its base {base.value:.4f}"
    if len(expert.index) < 2:
        return f"{scores}; one example says nothing"
    clusters = None if expert.cluster is None else {task: expert.cluster}
    p = paired_difference({task: expert.outcome}, {task: base.outcome}, clusters=clusters, alternative="less").p_value
    if p >= CHANCE:
        return f"{scores}; that may be chance (p = {p:.2f})"
    return (
        f"{scores}, which is not chance (p = {p:.2g}): that is a failure to read its answers more often than a result. "
        "Look at what it writes, at the metric's filter and the prompt's template"
    )
