"""Which of a task's metrics counts, and what the harness' results say by it. Pure: no model, no harness."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.metrics.predictions import Predictions

#: Where the harness computes these itself, an example is right (1) or wrong (0).
RIGHT_OR_WRONG = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"})

_UNFILTERED = "none"  # the harness' name of the filter that takes the answer as it is
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_\-./: ]")
_PROBES = ((0.0, 1.0), (0.25, 1.0, 4.0, 0.0, 0.0))  # a mean, and no median, maximum or exponential, makes 0.5 and 1.05


@dataclass(frozen=True)
class Chosen:
    """What counts: a metric, after a filter.

    ``right_or_wrong``: whether examples are (see `HarnessTaskConfig`); otherwise each has a score.
    """

    metric: str
    filter: str
    right_or_wrong: bool

    @property
    def name(self) -> str:
        """As reports call it.

        Example:
            >>> Chosen("exact_match", "flexible-extract", True).name, Chosen("acc", "none", True).name
            ('exact_match.flexible-extract', 'acc')
        """
        return shown_name(self.metric, self.filter)


def shown_name(metric: str, filter: str) -> str:
    """The metric, and its filter where there is one; what a tracking store takes in no name becomes ``_``.

    Example:
        >>> shown_name("pass@1", "create_test")
        'pass_1.create_test'
    """
    full = metric if filter == _UNFILTERED else f"{metric}.{filter}"
    return _UNNAMEABLE.sub("_", full)


def is_mean(aggregation: Callable[[list[float]], Any]) -> bool:
    """Whether a function of examples' numbers is their mean, by what it makes of some.

    Example:
        >>> import statistics
        >>> is_mean(statistics.fmean), is_mean(statistics.median), is_mean(max)
        (True, False, False)
    """
    try:
        return all(abs(float(aggregation(list(some))) - sum(some) / len(some)) < 1e-9 for some in _PROBES)
    except Exception:  # it wants other things than numbers, so it is none
        return False


def choose(
    aggregations: Mapping[str, Callable[[list[float]], Any]],
    larger_is_better: Mapping[str, Any],
    filters: Sequence[str],
    *,
    metric: str | None,
    filter: str | None,
    right_or_wrong: bool | None,
    own_results: bool,
    where: str,
) -> Chosen:
    """The metric and filter that a task is scored by.

    Args:
        aggregations: of the task's metrics, in its order: from the examples' numbers to the metric.
        larger_is_better: by metric.
        filters: the task's, in its order.
        metric, filter: that were asked for; the first where None.
        right_or_wrong: see `HarnessTaskConfig`.
        own_results: whether a function of the task itself makes the examples' numbers.

    Raises:
        FusionBenchError: a metric or filter that the task has not, a metric that is no mean over examples, or one
            that is better when smaller; with those that can be chosen.
    """
    usable = [name for name, one in aggregations.items() if is_mean(one) and larger_is_better.get(name)]
    hint = f"metric: {' or '.join(usable)}" if usable else "none of its metrics can be: leave the task out"
    wanted = next(iter(aggregations), "") if metric is None else metric
    if wanted not in aggregations:
        raise unknown_name("metric", wanted, aggregations, where=where)
    if not is_mean(aggregations[wanted]):
        raise FusionBenchError(
            f"{where}: {wanted} is no mean over examples, which is what can be compared with intervals and tests",
            hint=hint,
        )
    if not larger_is_better.get(wanted):
        raise FusionBenchError(f"{where}: {wanted} is better when it is smaller", hint=hint)
    after = filters[0] if filter is None else filter
    if after not in filters:
        raise unknown_name("filter", after, filters, where=where)
    known = wanted in RIGHT_OR_WRONG and not own_results
    return Chosen(wanted, after, known if right_or_wrong is None else right_or_wrong)


def predictions_of(
    task: str, chosen: Chosen, results: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], *, size: int
) -> Predictions:
    """What the harness says of one task, as `Predictions`.

    Args:
        task: its name here.
        results: the harness' numbers by ``metric,filter``, of this task.
        samples: the harness' record of every example and filter.
        size: how many examples there should be.

    Raises:
        FusionBenchError: an example without the metric, or with what is no number; one that is neither right nor wrong
            where all are said to be; a harness whose value is not the mean of its examples.
    """
    of = {int(one["doc_id"]): one.get(chosen.metric) for one in samples if one["filter"] == chosen.filter}
    index = np.array(sorted(of), dtype=np.int64)
    without = [number for number in range(size) if of.get(number) is None]
    if without or len(index) != size:
        raise FusionBenchError(
            f"{task!r}: lm-eval has no {chosen.name} for {len(without)} of {size} examples (the first: {without[:1]})",
            hint="choose a metric that every example has",
        )
    try:
        values = np.array([float(of[number]) for number in index.tolist()], dtype=np.float64)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise FusionBenchError(f"{task!r}: {chosen.name} of an example is no number: {error}") from error
    if not np.isfinite(values).all():
        raise FusionBenchError(
            f"{task!r}: {chosen.name} is not finite for {int((~np.isfinite(values)).sum())} examples"
        )
    reported = float(results[f"{chosen.metric},{chosen.filter}"])
    if not np.isclose(values.mean(), reported, rtol=1e-9, atol=1e-12):
        raise FusionBenchError(
            f"{task!r}: lm-eval reports {reported} for {chosen.name}, and the mean of its examples is {values.mean()}",
            hint="choose a metric that is a mean over examples",
        )
    arrays: dict[str, Any] = {}
    if chosen.right_or_wrong:
        neither = values[~np.isin(values, (0.0, 1.0))]
        if len(neither):
            raise FusionBenchError(
                f"{task!r}: {chosen.name} is {neither[0]} for an example: neither right nor wrong",
                hint="right_or_wrong: false",
            )
        arrays |= {"label": np.ones(size, dtype=np.int64), "prediction": values.astype(np.int64)}
    else:
        none = np.full(size, -1, dtype=np.int64)
        arrays |= {"label": none, "prediction": none.copy(), "score": values}
    return Predictions(
        task=task, index=index, **arrays, confidence=None, loss=None, metric=chosen.name,
        extra=_others(results, but=f"{chosen.metric},{chosen.filter}"),
    )  # fmt: skip


def _others(results: Mapping[str, Any], *, but: str) -> dict[str, float]:
    """The harness' other numbers, standard errors among them; what it calls N/A is left out."""
    found = {}
    for key, value in results.items():
        metric, comma, after = key.partition(",")
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if comma and key != but and number and np.isfinite(value):
            found[shown_name(metric, after)] = float(value)
    return found
