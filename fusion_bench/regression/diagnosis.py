"""Where to look first when a case is not what it was: the references measured along with it tell the parts apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fusion_bench.regression.baseline import Baseline
from fusion_bench.regression.changes import changed_data, differing

#: Of one accuracy; what rounding moves is less.
_MOVED = 0.005


def diagnose(baseline: Baseline, now: Baseline) -> str:
    """The part of the system that explains most.

    Every case evaluates the base model and the experts, too, on the same examples. If they moved, the method is not
    what changed: base and experts on all tasks, the pictures' way into the model; on one task, that task's labels or
    prompts; the experts alone, their weights or which is whose.
    """
    data = changed_data(baseline, now)
    if data:
        return f"the data of {_listed(data)}: other examples, labels, class names or prompts"
    relabelled = [
        task
        for task in baseline.tasks
        if task in now.outcomes
        and baseline.outcomes[task]["predictions"] == now.outcomes[task]["predictions"]
        and baseline.outcomes[task]["correct"] != now.outcomes[task]["correct"]
    ]
    if relabelled:
        return f"the labels of {_listed(relabelled)}: the predictions are the same, what counts as right is not"
    base, experts = (
        _moved(baseline.references.get(n, {}), now.references.get(n, {})) for n in ("pretrained", "experts")
    )
    if base:
        both = sorted(set(base) & set(experts)) or base
        if len(both) > len(baseline.tasks) // 2:
            return f"how pictures reach the model, or the text head: the base model itself moved on {_listed(base)}"
        return f"prompts, labels or pictures of {_listed(base)}: the base model itself moved there, and not elsewhere"
    if experts:
        return f"the experts of {_listed(experts)} (weights, or which is whose): the base model scores as before"
    options = [name for name, *_ in differing(baseline.config, now.config)]
    if options:
        return f"the options: {_listed(options)}"
    name = baseline.case["algorithm"]
    return f"the method {name} or the weights engine: base model and experts score as before"


def common_cause(diagnoses: Sequence[str], cases: Sequence[str]) -> str:
    """One line over several failing cases.

    Example:
        >>> common_cause(["the labels of mnist: …"] * 3, ["a", "b", "c"])
        'all 3 say the same: the labels of mnist: …'
    """
    distinct = dict.fromkeys(diagnoses)
    if len(cases) > 1 and len(distinct) == 1:
        return f"all {len(cases)} say the same: {next(iter(distinct))}"
    return ""


def _moved(old: Mapping[str, float], new: Mapping[str, float]) -> list[str]:
    return [task for task in old if task in new and abs(old[task] - new[task]) > _MOVED]


def _listed(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
