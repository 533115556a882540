"""Results to ranked rows: pure, from dictionaries, no terminal and no tensor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fusion_bench.families import Family, families
from fusion_bench.report.measures import mean_measures, other_measures

if TYPE_CHECKING:
    import numpy as np

REFERENCE = "reference"
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One case in a leaderboard, or one method with several seeds: then every number is the mean over ``seeds`` runs.

    Accuracies are fractions in [0, 1]; ``normalized`` is the mean over tasks of accuracy over the expert's accuracy
    (None where no expert was measured); ``interval`` the 95 % interval of the mean accuracy over the test examples.
    ``rank`` counts methods only: reference rows (the base, the experts, the multi-task model) are bounds, not entrants.
    ``letters`` name the groups a method belongs to: methods that share a letter cannot be told apart. Of several seeds
    the interval is over seeds and examples. ``measures`` are what tasks measure beside that, ``metric/task`` to its
    value as logged (`measures.other_measures`).
    """

    name: str
    kind: str
    accuracy: Mapping[str, float]
    mean: float
    normalized: float | None = None
    interval: tuple[float, float] | None = None
    seconds: float | None = None
    memory_mb: float | None = None
    data_access: tuple[str, ...] = ()
    rank: int | None = None
    letters: str = ""
    seeds: int = 1
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, and of how many seeds it is where there are several."""
        return f"{self.name} ({self.seeds} seeds)" if self.seeds > 1 else self.name

    @property
    def is_reference(self) -> bool:
        """Whether this row is a bound and not a method."""
        return self.kind == REFERENCE


@dataclass(frozen=True)
class Board:
    """The rows of one model pool and task pool, best mean first."""

    modelpool: str
    taskpool: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    best: Mapping[str, float] = field(default_factory=dict, repr=False)
    scored_by: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def units(self) -> str:
        """What the tasks' figures are, times 100.

        Example:
            >>> Board("p", "t", ("rte", "stsb"), (), scored_by={"stsb": "spearman"}).units
            'accuracy in %; stsb: 100 × spearman'
        """
        return "; ".join(["accuracy in %", *(f"{task}: 100 × {metric}" for task, metric in self.scored_by.items())])

    @property
    def title(self) -> str:
        """The experiment, as MLflow names it."""
        return f"{self.modelpool}/{self.taskpool}"

    def is_best(self, row: Row, column: str) -> bool:
        """Whether a method has the best value of a column: a task's name, ``mean`` or ``normalized``.

        Equal values are all best; reference rows never are; one method alone is no winner.
        """
        if row.is_reference or sum(not r.is_reference for r in self.rows) < 2:
            return False
        value = _value(row, column)
        return value is not None and value == self.best.get(column)


def leaderboards(results: Iterable[Mapping[str, Any]]) -> list[Board]:
    """One board per model pool and task pool, in the order the pools appear.

    Args:
        results: case results as dictionaries (`CaseResult.to_dict`, or the content of a ``report.json``). The base and
            the experts get a row even where they were no cases, from what every case measured of them. Results that
            differ in the seed alone are one row (`families.families`).

    Example:
        >>> def result(name, kind, a, b):
        ...     metrics = {"accuracy/a": a, "accuracy/b": b, "accuracy/mean": (a + b) / 2}
        ...     case = {"algorithm": name, "modelpool": "p", "taskpool": "t", "overrides": []}
        ...     return {"case": case, "kind": kind, "metrics": metrics, "tasks": ["a", "b"]}
        >>> (board,) = leaderboards([result("ties", "merging", 0.5, 0.7), result("iso_c", "merging", 0.6, 0.8),
        ...                          result("experts", "reference", 0.9, 0.9)])
        >>> [(row.rank, row.name, round(row.mean, 2)) for row in board.rows]
        [(None, 'experts', 0.9), (1, 'iso_c', 0.7), (2, 'ties', 0.6)]
        >>> board.is_best(board.rows[1], "a")
        True
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["case"]["modelpool"], result["case"]["taskpool"]), []).append(result)
    return [_board(*pools, group) for pools, group in groups.items()]


def _board(modelpool: str, taskpool: str, results: Sequence[Mapping[str, Any]]) -> Board:
    tasks = tuple(dict.fromkeys(task for result in results for task in result["tasks"]))
    together = families(results, lambda result: result)
    found = [_family_row(family) for family in together]
    found += _bounds(results, {row.name for row in found}, tasks)
    rows = sorted(found, key=lambda row: (-_sortable(row.mean), row.name))
    ranked, rank, letters = [], 0, _letters(together)
    for row in rows:
        if not row.is_reference:
            rank += 1
            row = dataclasses.replace(row, rank=rank, letters=letters.get(row.name, ""))
        ranked.append(row)
    methods = [row for row in rows if not row.is_reference]
    best = {
        column: max(values)
        for column in (*tasks, "mean", "normalized")
        if (values := [v for row in methods if (v := _value(row, column)) is not None and math.isfinite(v)])
    }
    scored_by = {task: metric for result in results for task, metric in result.get("scored_by", {}).items()}
    return Board(modelpool, taskpool, tasks, tuple(ranked), best, scored_by)


def _family_row(family: Family[Result]) -> Row:
    rows = [_row(result, family.name) for result in family.members]
    if not family.has_seeds:
        return rows[0]
    tasks = [task for task in rows[0].accuracy if all(task in row.accuracy for row in rows)]
    return dataclasses.replace(
        rows[0],
        accuracy={task: fmean(row.accuracy[task] for row in rows) for task in tasks},
        mean=fmean(row.mean for row in rows),
        normalized=_mean_if_all(row.normalized for row in rows),
        interval=_interval(family.members),
        seconds=_mean_if_all(row.seconds for row in rows),
        memory_mb=_mean_if_all(row.memory_mb for row in rows),
        seeds=len(rows),
        measures=mean_measures(family.members),
    )


def _mean_if_all(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return fmean(v for v in known if v is not None) if None not in known else None


def _interval(members: Sequence[Result]) -> tuple[float, float] | None:
    """Over seeds and examples; None where a member does not say which examples were right."""
    from fusion_bench.metrics.seeds import seeded_mean

    if not all(_says_all(result) for result in members):
        return None
    found = seeded_mean([_correct(result) for result in members], clusters=_clusters(members))
    return found.low, found.high


def _row(result: Result, name: str) -> Row:
    metrics = result["metrics"]
    interval = result.get("interval")
    fused, evaluated = metrics.get("cost/fusion_seconds"), metrics.get("cost/evaluation_seconds")
    return Row(
        name=name,
        kind=result["kind"],
        accuracy={task: metrics[f"accuracy/{task}"] for task in result["tasks"] if f"accuracy/{task}" in metrics},
        mean=metrics["accuracy/mean"],
        normalized=metrics.get("normalized/mean"),
        interval=(interval[0], interval[1]) if interval else None,
        seconds=None if fused is None or evaluated is None else fused + evaluated,
        memory_mb=metrics.get("cost/peak_memory_mb"),
        data_access=tuple(result.get("data_access", ())),
        measures=mean_measures([result]),
    )


def _bounds(results: Sequence[Mapping[str, Any]], present: set[str], tasks: Sequence[str]) -> list[Row]:
    """Rows for the references that were measured along with a case and were no cases themselves."""
    references = {name: values for result in results for name, values in result.get("references", {}).items()}
    measured = {
        name: other_measures({"tasks": tasks, "scored_by": result.get("scored_by", {}), "metrics": values})
        for result in results
        for name, values in result.get("reference_measures", {}).items()
    }
    rows = []
    for name, accuracy in references.items():
        # a mean over fewer tasks would be no bound for the others
        if name in present or not set(accuracy) >= set(tasks):
            continue
        experts = references.get("experts", {})
        known = [accuracy[task] / experts[task] for task in tasks if experts.get(task, 0) > 0]
        rows.append(
            Row(
                name=name,
                kind=REFERENCE,
                accuracy={task: accuracy[task] for task in tasks},
                mean=sum(accuracy[task] for task in tasks) / len(tasks),
                normalized=sum(known) / len(known) if len(known) == len(tasks) else None,
                measures=measured.get(name, {}),
            )
        )
    return rows


def _letters(together: Sequence[Family[Result]]) -> dict[str, str]:
    """Letters of the methods' groups at 5 %; none where examples differ, or a result does not say which were right."""
    methods = {family.name: family.members for family in together if family.members[0]["kind"] != REFERENCE}
    results = [result for members in methods.values() for result in members]
    seen = {tuple(sorted(result.get("data", {}).items())) for result in results}
    if len(methods) < 2 or len(seen) > 1 or not all(map(_says_all, results)):
        return {}
    from fusion_bench.metrics.ranking import rank_runs

    runs = {name: [_correct(result) for result in members] for name, members in methods.items()}
    outcomes = {name: found if len(found) > 1 else found[0] for name, found in runs.items()}
    return dict(rank_runs(outcomes, clusters=_clusters(results)).letters)


def _says_all(result: Result) -> bool:
    return set(result.get("outcomes", ())) == set(result["tasks"])


def _correct(result: Result) -> dict[str, np.ndarray]:
    from fusion_bench.metrics.packing import unpack_outcome

    return {task: unpack_outcome(o) for task, o in result["outcomes"].items()}


def _clusters(results: Sequence[Result]) -> dict[str, np.ndarray] | None:
    """Which examples share a source, as the first result says that does; all are of the same examples."""
    from fusion_bench.metrics.packing import unpack_sources

    for result in results:
        if result.get("clusters"):
            return {task: unpack_sources(o, result["outcomes"][task]["n"]) for task, o in result["clusters"].items()}
    return None


def _value(row: Row, column: str) -> float | None:
    if column in ("mean", "normalized"):
        value: float | None = getattr(row, column)
        return value
    return row.accuracy.get(column)


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
