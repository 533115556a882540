"""The trials of a case: hyper-parameters chosen, fused and evaluated; what two of them share is computed once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fusion_bench.cases.prepare import Prepared
from fusion_bench.cases.search import Candidates, Search, combinations, grid_search
from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.packing import are_shared, pack_outcome, pack_sources
from fusion_bench.metrics.predictions import Predictions
from fusion_bench.modelpools.view import restricted
from fusion_bench.progress import Progress, silent
from fusion_bench.taskpools.base import ScoredTask, TaskAdapter
from fusion_bench.taskpools.evaluate import evaluate
from fusion_bench.taskpools.protocols import Group, Outcome, Trial

if TYPE_CHECKING:
    from fusion_bench.algorithms.base import Algorithm

VALIDATION = "validation"


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a case's trials found.

    Attributes:
        outcomes: the main trial's first; this one alone where the protocol has no other.
        groups: what the protocol reports of them.
        predictions: of every trial but the main one, by its name and by task.
        data: digests of the examples that those are of.
    """

    outcomes: tuple[Outcome, ...]
    groups: tuple[Group, ...]
    predictions: dict[str, dict[str, Predictions]]
    data: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """The groups' statistics, by the names under which they are logged."""
        return {name: value for group in self.groups for name, value in group.metrics().items()}

    def to_list(self) -> list[dict[str, Any]]:
        """The trials as they stand in the report; empty where there is nothing beyond the main trial's metrics."""
        return [self._record(outcome) for outcome in self.outcomes] if self.groups else []

    def _record(self, outcome: Outcome) -> dict[str, Any]:
        trial = dataclasses.asdict(outcome.trial)
        shown = {key: list(value) if isinstance(value, tuple) else value for key, value in trial.items()}
        found = {"values": outcome.values, "examples": outcome.examples, "accuracy": outcome.accuracy}
        found |= {"normalized": outcome.normalized, "conditions": outcome.conditions}
        said = self.predictions.get(outcome.trial.name)
        if said is not None:
            found |= {"outcomes": packed_outcomes(said), "data": self.data[outcome.trial.name]}
            if outcome.trial.split != self.outcomes[0].trial.split:  # else they are the main trial's
                found |= {"clusters": packed_sources(said)}
        return {**shown, **found}

    def table(self) -> pd.DataFrame:
        """Every example of every trial but the main one: trial, task, index, label, prediction."""
        columns = ["trial", "task", "index", "label", "prediction"]
        parts = [
            pd.DataFrame({"trial": trial, "task": task, "index": p.index, "label": p.label, "prediction": p.prediction})
            for trial, found in self.predictions.items()
            for task, p in found.items()
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


class Trials:
    """Runs the trials of a prepared case.

    `search` first where there is something to search, then `finish` with what the main trial predicted.
    """

    def __init__(self, prepared: Prepared, progress: Progress = silent) -> None:
        self._prepared, self._progress = prepared, progress
        self._fusions: dict[tuple[str, ...], _Fusions] = {}

    def search(self) -> tuple[Algorithm, Search]:
        """The algorithm with the values that do best on the main trial's validation examples.

        Raises:
            FusionBenchError: whatever fusing or evaluating raises.
        """
        main = self._prepared.bound.trials[0]
        total, done = len(combinations(self._prepared.grid)), 0

        def tried() -> None:
            nonlocal done
            self._progress("search on validation", done, total)
            done += 1

        search = self._search(main, tried)
        self._progress("search on validation", total, total)
        return dataclasses.replace(self._prepared.algorithm, **search.best), search

    def finish(
        self,
        predictions: Mapping[str, Predictions],
        search: Search | None,
        experts: Mapping[str, float],
    ) -> Finished:
        """Run the other trials.

        Args:
            predictions: of the main trial on the test split.
            search: that chose its values; None where nothing was searched.
            experts: accuracy of each task's own expert on the test split.
        """
        bound = self._prepared.bound
        main, *others = bound.trials
        values = self._written() if search is None else search.best
        self._of(main).adopt(values, main.split, predictions)
        outcomes = [self._outcome(main, values if search else {}, predictions, experts)]
        found: dict[str, dict[str, Predictions]] = {}
        for done, trial in enumerate(others):
            self._progress(f"trial {trial.name}", done, len(others))
            chosen = self._search(trial).best if self._prepared.grid and trial.chosen_on else {}
            found[trial.name] = self._of(trial).predict(self._written() | chosen, trial.tasks, trial.split)
            outcomes.append(self._outcome(trial, chosen, found[trial.name], experts))
            if all(later.experts != trial.experts for later in others[done + 1 :]):
                del self._fusions[trial.experts]  # it holds a task vector: fifty of them would be a gigabyte
        if others:
            self._progress("trials", len(others), len(others))
        data = {t.name: {task: bound.adapters[task].data_hash(t.split) for task in t.tasks} for t in others}
        return Finished(tuple(outcomes), tuple(bound.taskpool.groups(outcomes)), found, data)

    def _written(self) -> dict[str, Any]:
        """The fields that a search could decide, as the algorithm has them without one."""
        return {name: getattr(self._prepared.algorithm, name) for name in self._prepared.grid}

    def _of(self, trial: Trial) -> _Fusions:
        if trial.experts not in self._fusions:
            self._fusions[trial.experts] = _Fusions(self._prepared, trial.experts)
        return self._fusions[trial.experts]

    def _rows(self, trial: Trial) -> dict[str, np.ndarray]:
        adapters = self._prepared.bound.adapters
        found = {task: trial.examples(task, _classes(adapters[task])) for task in trial.chosen_on}
        for task, rows in found.items():
            adapter = adapters[task]
            if isinstance(adapter, ScoredTask) and len(rows) < adapter.size(VALIDATION):
                raise FusionBenchError(
                    f"{task!r} has no classes to draw examples of: it is scored by {adapter.metric}",
                    hint="leave it out of protocols that choose by a few examples a class",
                )
        return found

    def _search(self, trial: Trial, before: Callable[[], None] = lambda: None) -> Search:
        fusions, rows = self._of(trial), self._rows(trial)

        def score(values: dict[str, Any]) -> float:
            before()
            found = fusions.predict(values, trial.chosen_on, VALIDATION)
            return float(np.mean([found[task].outcome[rows[task]].mean() for task in trial.chosen_on]))

        return grid_search(self._prepared.grid, score)

    def _outcome(
        self,
        trial: Trial,
        values: dict[str, Any],
        predictions: Mapping[str, Predictions],
        experts: Mapping[str, float],
    ) -> Outcome:
        accuracy = {task: predictions[task].value for task in trial.tasks}
        comparable = trial.split == "test"  # what the experts were evaluated on
        return Outcome(
            trial=trial,
            values=values,
            examples=sum(len(rows) for rows in self._rows(trial).values()) if values else 0,
            accuracy=accuracy,
            normalized={t: a / experts[t] for t, a in accuracy.items() if comparable and experts.get(t, 0) > 0},
            conditions=self._by_condition(trial, predictions),
        )

    def _by_condition(self, trial: Trial, predictions: Mapping[str, Predictions]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for task in trial.tasks:
            conditions = self._prepared.bound.adapters[task].conditions(trial.split)
            for condition in [] if conditions is None else dict.fromkeys(conditions.tolist()):
                outcome = predictions[task].outcome[conditions == condition]
                found.setdefault(condition, {})[task] = float(outcome.mean())
        return found


def _classes(adapter: TaskAdapter) -> np.ndarray:
    """Of the validation examples, all the same where a task has none, int64 ``(n,)``."""
    if isinstance(adapter, ScoredTask):
        return np.zeros(adapter.size(VALIDATION), dtype=np.int64)
    return adapter.labels(VALIDATION).numpy()


class _Fusions:
    """Fusions of the same experts: what each of them predicts, computed when first asked for."""

    def __init__(self, prepared: Prepared, experts: Sequence[str]) -> None:
        self._prepared = prepared
        self._fused = Candidates(prepared.algorithm, restricted(prepared.bound.modelpool, experts))
        self._found: dict[tuple[str, str, str], Predictions] = {}

    def predict(self, values: Mapping[str, Any], tasks: Sequence[str], split: str) -> dict[str, Predictions]:
        """By task, of the fusion with these values."""
        missing = [task for task in tasks if _key(values, split, task) not in self._found]
        if missing:
            bound, device = self._prepared.bound, self._prepared.case.device
            model = self._fused(values)
            self.adopt(
                values,
                split,
                evaluate(
                    model,
                    bound.adapters,
                    split=split,
                    tasks=missing,
                    cache=bound.cache,
                    device=device,
                    steps=bound.steps,
                ),
            )
        return {task: self._found[_key(values, split, task)] for task in tasks}

    def adopt(self, values: Mapping[str, Any], split: str, predictions: Mapping[str, Predictions]) -> None:
        """Keep what the fusion with these values is known to predict."""
        self._found |= {_key(values, split, task): found for task, found in predictions.items()}


def _key(values: Mapping[str, Any], split: str, task: str) -> tuple[str, str, str]:
    return json.dumps(values, sort_keys=True, default=str), split, task


def packed_sources(predictions: Mapping[str, Predictions]) -> dict[str, str]:
    """Which source each example comes from, for tasks where some share one."""
    known = {task: p.cluster for task, p in predictions.items() if p.cluster is not None}
    return {task: pack_sources(labels) for task, labels in known.items() if are_shared(labels)}


def packed_outcomes(predictions: Mapping[str, Predictions]) -> dict[str, dict[str, Any]]:
    """Per task how many examples, which were right or how each scored, and a digest of what was predicted."""
    return {task: {**pack_outcome(p.outcome), "predictions": p.digest} for task, p in predictions.items()}
