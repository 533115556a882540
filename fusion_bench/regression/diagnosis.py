"""Where to look first when a case is not what it was: the references measured along with it tell the parts apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fusion_bench.metrics.packing import unpack_outcome
from fusion_bench.regression.baseline import Baseline
from fusion_bench.regression.changes import changed_data, changed_plugins, differing, same_environment

#: Chance that rounding alone moves a reference so far that it is taken for a change.
_TAIL = 1e-4


def diagnose(baseline: Baseline, now: Baseline, rounding: float) -> str:
    """The part of the system that explains most.

    Every case evaluates the base model and the experts, too, on the same examples. If they moved, the method is not
    what changed: base and experts on all tasks, the pictures' way into the model; on one task, that task's labels or
    prompts; the experts alone, their weights or which is whose.

    Args:
        rounding: share of predictions that another machine may turn; on the baseline's, a reference is still or moved.
    """
    data = changed_data(baseline, now)
    if data:
        return f"the data of {listed(data)}: other examples, labels, class names or prompts"
    relabelled = [
        task
        for task in baseline.tasks
        if task in now.outcomes
        and baseline.outcomes[task]["predictions"] == now.outcomes[task]["predictions"]
        and _packed(baseline.outcomes[task]) != _packed(now.outcomes[task])
    ]
    if relabelled:
        return f"the labels of {listed(relabelled)}: the predictions are the same, what counts as right is not"
    found = moved(baseline, now, rounding, _TAIL)
    base, experts = found.get("base", []), found.get("expert", [])
    if base:
        both = sorted(set(base) & set(experts)) or base
        if len(both) > len(baseline.tasks) // 2:
            return f"how pictures reach the model, or the text head: the base model itself moved on {listed(base)}"
        return f"prompts, labels or pictures of {listed(base)}: the base model itself moved there, and not elsewhere"
    if experts:
        return f"the experts of {listed(experts)} (weights, or which is whose): the base model scores as before"
    options = [name for name, *_ in differing(baseline.config, now.config)]
    if options:
        return f"the options: {listed(options)}"
    own = [module for module in changed_plugins(baseline, now) if module in baseline.plugins]
    if own:
        return f"your own code: {listed(own)}: base model and experts score as before"
    name = baseline.case["algorithm"]
    versions = [package for package, *_ in differing(baseline.versions, now.versions)]
    also = f", or what it runs on ({listed(versions)})" if versions else ""
    return f"the method {name} or the weights engine{also}: base model and experts score as before"


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


def rounding_bound(n: int, share: float, tail: float) -> int:
    """The smallest k with P(Bin(n, share) > k) ≤ tail: more than so many of n examples are not turned by rounding.

    Example:
        >>> rounding_bound(2000, 0.001, 1e-5), rounding_bound(2000, 0.0, 1e-5)
        (10, 0)
    """
    from scipy.special import bdtrc

    k = np.arange(n + 1, dtype=np.float64)
    return int(np.argmax(bdtrc(k, n, share) <= tail))


def moved(baseline: Baseline, now: Baseline, rounding: float, tail: float) -> dict[str, list[str]]:
    """The tasks on which the base model, and their experts, predict otherwise than they did; empty where none does.

    On the machine of the baseline any other prediction counts; on another, more than rounding turns but with
    probability ``tail``.
    """
    here = same_environment(baseline, now)
    found: dict[str, list[str]] = {}
    for shown, name in (("base", "pretrained"), ("expert", "experts")):
        old, new = baseline.reference_outcomes.get(name, {}), now.reference_outcomes.get(name, {})
        for task in old:
            if task not in new or old[task]["n"] != new[task]["n"]:
                continue
            bound = 0 if here else rounding_bound(old[task]["n"], rounding, tail / (2 * len(old)))
            turns = turned(unpack_outcome(old[task]), unpack_outcome(new[task]))
            other = turns > 0 or old[task]["predictions"] != new[task]["predictions"]
            if other and (here or turns > bound):
                found.setdefault(shown, []).append(task)
    return found


def turned(old: np.ndarray, new: np.ndarray) -> float:
    """How many examples became right or wrong.

    Of scores, where one example that is ranked otherwise shifts all, so many as would have had to go from the lowest
    to the highest of them to move the mean as far as it moved.

    Example:
        >>> turned(np.array([True, False, False]), np.array([False, True, False]))
        2.0
        >>> turned(np.array([0.0, 0.5, 1.0, 0.5]), np.array([0.5, 0.5, 1.0, 0.75]))
        0.75
    """
    if old.dtype == new.dtype == np.bool_:
        return float((old != new).sum())
    old, new = old.astype(np.float64), new.astype(np.float64)  # one of them may be of right and wrong
    span = float(max(old.max(), new.max()) - min(old.min(), new.min()))
    return len(old) * abs(float(new.mean()) - float(old.mean())) / span if span else 0.0


def _packed(outcome: Mapping[str, Any]) -> Any:
    return outcome["scores"] if "scores" in outcome else outcome["correct"]


def listed(names: Iterable[str], most: int = 4) -> str:
    """Names in a sentence; long lists are cut and counted.

    Example:
        >>> listed("abcdef")
        'a, b, c, d and 2 more'
    """
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
