"""Which examples each run of a group got right, and for the best of them what it said instead."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.predictions import Predictions
from fusion_bench.progress import Progress, silent
from fusion_bench.report.page.groups import Group
from fusion_bench.report.page.runs import Run, where

DETAILED = 60  # runs of a group whose every prediction is read
LEVEL = 0.95


@dataclass
class Outcomes:
    """What the statistics of a group start from.

    Attributes:
        sizes: examples by task.
        correct: by run id and task, bool ``(n,)``; float64 ``(n,)`` scores of a task that has no right and wrong.
        predictions: by run id and task, for some of the runs.
        clusters: by task, which source each example comes from; tasks whose examples stand alone are left out.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    correct: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    predictions: dict[str, Mapping[str, Predictions]] = field(default_factory=dict)
    clusters: dict[str, np.ndarray] = field(default_factory=dict)
    _intervals: dict[str, tuple[float, float]] = field(default_factory=dict, repr=False)

    def interval(self, run_id: str) -> tuple[float, float] | None:
        """The 95 % interval of the mean over tasks; None where the outcomes are lost.

        A nightly run mostly repeats the last one to the bit, so that each distinct outcome is counted once.
        """
        from fusion_bench.metrics.intervals import mean_accuracy_interval

        found = self.correct.get(run_id)
        if found is None:
            return None
        key = self._digests[run_id]
        if key not in self._intervals:
            self._intervals[key] = mean_accuracy_interval(found, level=LEVEL, clusters=self.clusters or None)
        return self._intervals[key]

    def interval_of_seeds(self, run_ids: Sequence[str]) -> tuple[float, float] | None:
        """The 95 % interval of the mean over seeds and tasks; None where the outcomes of a run are lost."""
        from fusion_bench.metrics.seeds import seeded_mean

        if not all(run_id in self.correct for run_id in run_ids):
            return None
        runs = [self.correct[run_id] for run_id in run_ids]
        found = seeded_mean(runs, level=LEVEL, clusters=self.clusters or None)
        return found.low, found.high

    def same(self, first: str, second: str) -> bool:
        """Whether two runs were right on exactly the same examples."""
        return self._digests[first] == self._digests[second]

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {run_id: _digest(found) for run_id, found in self.correct.items()}


def detailed(group: Group) -> list[Run]:
    """The runs whose every prediction is worth reading: the newest of the bounds, then of the best methods."""
    newest = sorted(group.newest.values(), key=lambda run: -run.result["metrics"]["accuracy/mean"])
    return sorted(newest, key=lambda run: not run.is_reference)[:DETAILED]


def read_outcomes(group: Group, wanted: Sequence[Run], *, progress: Progress = silent) -> tuple[Outcomes, list[str]]:
    """The outcomes of all runs of a group, and a note on each run whose are lost or do not fit the others'.

    Args:
        wanted: the runs whose predictions are read as well; sources that examples share come from them.
    """
    found, notes = Outcomes(), []
    for number, run in enumerate(group.runs):
        progress("outcomes", number, len(group.runs))
        try:
            correct = {task: _array(values) for task, values in run.outcomes().items()}
        except (FusionBenchError, KeyError, TypeError, ValueError) as error:  # what others wrote may lack anything
            notes.append(f"{_about(run, error)}; shown without comparisons")
            continue
        sizes = {task: len(values) for task, values in correct.items()}
        found.sizes = found.sizes or sizes
        few = [task for task, size in sizes.items() if size < 2]
        odd = [task for task in {**found.sizes, **sizes} if sizes.get(task) != found.sizes.get(task)]
        if few or odd:
            why = f"too few examples of {', '.join(few)}" if few else f"other numbers of examples of {', '.join(odd)}"
            notes.append(f"{where(run)}: {why}; shown without comparisons")
            continue
        found.correct[run.run_id] = correct
    for number, run in enumerate(wanted):
        progress("predictions", number, len(wanted))
        if run.run_id not in found.correct:
            continue
        try:
            found.predictions[run.run_id] = _fitting(run, found)
        except FusionBenchError as error:
            notes.append(f"{_about(run, error)}; shown without its examples")
    found.clusters = _clusters(found)
    return found, notes


def _fitting(run: Run, found: Outcomes) -> Mapping[str, Predictions]:
    """The predictions of a run, refused where they contradict what is known of the examples."""
    predictions = run.predictions()
    known = next(iter(found.predictions.values()), predictions)
    for task, own in predictions.items():
        if not np.allclose(own.outcome, found.correct[run.run_id][task], rtol=1e-5, atol=1e-6):  # reports have float32
            raise FusionBenchError(f"predictions.parquet and report.json disagree on {task}")
        if not (np.array_equal(own.label, known[task].label) and np.array_equal(own.index, known[task].index)):
            raise FusionBenchError(f"the examples of {task} are in another order than those of other runs")
    return predictions


def _about(run: Run, error: Exception) -> str:
    if isinstance(error, FusionBenchError):
        return error.message if run.run_id in error.message else f"{where(run)}: {error.message}"
    return f"{where(run)}: its outcomes are damaged: {error!r}"


def _clusters(found: Outcomes) -> dict[str, np.ndarray]:
    """Sources that any two examples share, from the first run that knows them."""
    clusters: dict[str, np.ndarray] = {}
    for predictions in found.predictions.values():
        for task, own in predictions.items():
            if task not in clusters and own.cluster is not None:
                labels = own.cluster.astype(str)
                if 1 < len(np.unique(labels)) < len(labels):
                    clusters[task] = labels
    return clusters


def _array(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(bool)


def _digest(correct: Mapping[str, np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for task in sorted(correct):
        hashed.update(task.encode() + b"\0" + correct[task].tobytes())
    return hashed.hexdigest()
