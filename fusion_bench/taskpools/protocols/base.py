"""What a protocol is: the fusions that one case makes and evaluates, and the means it reports of them.

A case is one fusion of all experts, its hyper-parameters chosen on all validation examples, evaluated on every task.
A protocol says otherwise in one place: which experts the algorithm is given, whose validation examples choose, and how
many of them, and what is evaluated. Each such combination is a `Trial`; the first is the case's main one.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fusion_bench.datasets.seeding import seed_of

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Trial:
    """One fusion and its evaluation, by names.

    Attributes:
        name: unique among the trials of a case.
        experts: that the algorithm is given; it sees no other.
        tasks: that the fused model is evaluated on.
        chosen_on: the tasks whose validation examples choose hyper-parameters; none leaves the YAML's values.
        group: what it is averaged with.
        shots: labelled validation examples a class; all where None.
        seed, draw: which examples those are.
        split: that it is evaluated on.
    """

    name: str
    experts: tuple[str, ...]
    tasks: tuple[str, ...]
    chosen_on: tuple[str, ...]
    group: str = "main"
    shots: int | None = None
    seed: int = 0
    draw: int = 0
    split: str = "test"

    def examples(self, task: str, labels: np.ndarray) -> np.ndarray:
        """Positions of the validation examples of a task that may be looked at, ascending.

        Of every class the first ``shots`` in an order drawn for (seed, draw, task, class), or all where it has fewer:
        the examples of a small budget are among those of a larger one.

        Example:
            >>> import numpy as np
            >>> labels = np.array([0, 0, 0, 1, 1])
            >>> all_of_them, one_each = Trial("a", (), (), ()), Trial("b", (), (), (), shots=1)
            >>> all_of_them.examples("t", labels).tolist(), labels[one_each.examples("t", labels)].tolist()
            ([0, 1, 2, 3, 4], [0, 1])
        """
        import numpy as np

        if self.shots is None:
            return np.arange(len(labels))
        taken = []
        for label in np.unique(labels):
            generator = np.random.default_rng(seed_of(self.seed, self.draw, task, int(label)))
            taken.append(generator.permutation(np.flatnonzero(labels == label))[: self.shots])
        return np.sort(np.concatenate(taken)) if taken else np.arange(0)


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        values: the hyper-parameters that validation examples decided; empty where there is none to decide.
        examples: validation examples that decided.
        accuracy: by task, in [0, 1].
        normalized: accuracy over that of the task's expert, for tasks whose expert the case may read.
        conditions: accuracy by condition of the examples, then by task; empty where they have none.
    """

    trial: Trial
    values: dict[str, Any]
    examples: int
    accuracy: dict[str, float]
    normalized: dict[str, float] = field(default_factory=dict)
    conditions: dict[str, dict[str, float]] = field(default_factory=dict)

    def mean(self, metric: str = "accuracy", tasks: Iterable[str] | None = None) -> float | None:
        """The unweighted mean over tasks, all of the trial's or some; None where one of them has no number."""
        found: dict[str, float] = getattr(self, metric)
        wanted = self.trial.tasks if tasks is None else tuple(tasks)
        return statistics.fmean(found[task] for task in wanted) if wanted and set(wanted) <= set(found) else None


STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "std": statistics.stdev,
    "min": min,
    "max": max,
}


@dataclass(frozen=True)
class Group:
    """Numbers that are shown together, and what is logged of them as ``<metric>/<name>_<statistic>``.

    Attributes:
        points: one a trial, or one a task: ``of`` says what they are.
        statistics: some of "mean", "std" (with n - 1; not of a single number), "min", "max".

    Example:
        >>> Group("accuracy", "2_tasks", (0.5, 0.7), of="subsets", statistics=("mean", "std")).metrics()
        {'accuracy/2_tasks_mean': 0.6, 'accuracy/2_tasks_std': 0.1414...}
    """

    metric: str
    name: str
    points: tuple[float, ...]
    of: str = "tasks"
    statistics: tuple[str, ...] = ("mean",)

    def metrics(self) -> dict[str, float]:
        """The statistics by the names under which they are logged."""
        wanted = [s for s in self.statistics if len(self.points) > (1 if s == "std" else 0)]
        return {f"{self.metric}/{self.name}_{s}": float(STATISTICS[s](self.points)) for s in wanted}


class Protocol(ABC):
    """Says which trials a case has, and which means are reported of their outcomes."""

    @abstractmethod
    def trials(
        self, tasks: Sequence[str], experts: Sequence[str], own: Mapping[str, str] | None = None
    ) -> tuple[Trial, ...]:
        """The trials of a pool of ``tasks`` with a pool of ``experts``, the main one first; the same at every call.

        The main trial's experts are all that the case may read, and its tasks are all of the pool: the metrics
        ``accuracy/<task>`` and ``accuracy/mean`` are of this trial.

        Args:
            own: the expert of each task that has one; None: those of the tasks' names.

        Raises:
            FusionBenchError: the protocol does not fit these tasks or experts.
        """

    def groups(self, outcomes: Sequence[Outcome]) -> list[Group]:
        """What is reported beside the main trial's metrics."""
        return []


class Standard(Protocol):
    """One trial: all experts, all validation examples, all tasks."""

    def trials(
        self, tasks: Sequence[str], experts: Sequence[str], own: Mapping[str, str] | None = None
    ) -> tuple[Trial, ...]:
        return (Trial("main", tuple(experts), tuple(tasks), tuple(tasks)),)


def named_alike(tasks: Sequence[str], experts: Sequence[str]) -> dict[str, str]:
    """The expert of each task, where that is the one of its name.

    Example:
        >>> named_alike(["a", "b"], ["b", "c"])
        {'b': 'b'}
    """
    return {task: task for task in tasks if task in experts}


def by_group(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes of each group, in order."""
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.trial.group, []).append(outcome)
    return found


def points(outcomes: Iterable[Outcome], metric: str) -> tuple[float, ...]:
    """The means over tasks of several outcomes; those without are left out."""
    return tuple(mean for outcome in outcomes if (mean := outcome.mean(metric)) is not None)
