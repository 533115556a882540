"""A published table: its rows, where it stands, and what of ours its columns are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusion_bench.report.published.digits import Average, Printed, check_average


@dataclass(frozen=True)
class Source:
    """Where a table stands. What is not known is None, and ``unknown`` says why.

    Attributes:
        repository: ``owner/name``.
        document: the file in it; ``place`` the table in the file.
        paper: arXiv id.
        commit: of the file that was read; ``date`` its day, YYYY-MM-DD.
    """

    repository: str | None
    document: str | None
    place: str | None
    paper: str | None
    commit: str | None
    date: str | None
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One method of a table.

    Attributes:
        method: the name as published.
        algorithm: our name of exactly this method; None where we have none. ``options`` are the values that the
            source states, on top of that algorithm's YAML; ``unstated`` names those that it leaves open.
        expert: the task whose expert alone this row is.
        values: by column, as published; None for an empty cell; empty where only averages are published.
        averages: what is stated, by the average's name.
    """

    method: str
    algorithm: str | None
    options: Mapping[str, Any]
    unstated: tuple[str, ...]
    expert: str | None
    values: Mapping[str, Printed | None]
    averages: Mapping[str, Printed]
    note: str | None


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        name: the file's name.
        experts: the family of checkpoints; ``merged`` which of them a method fuses; ``condition`` of the test data.
        modelpool, taskpool: ours with the same models and data, None where we have none; ``differs`` says in what our
            protocol is another than the source's.
        columns: heading as published to our name of the task, which is what the task is scored by, or to another
            measure of it, ``metric/task`` as we log it.
        factors: by heading, what ours is multiplied by to be printed like theirs; 100 where nothing is said.
        averages: name of an average to the columns it is over.
    """

    name: str
    title: str
    source: Source
    backbone: str
    experts: str
    merged: str
    condition: str
    metric: str
    unit: str
    modelpool: str | None
    taskpool: str | None
    differs: str | None
    columns: Mapping[str, str]
    factors: Mapping[str, float]
    averages: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    note: str | None

    @property
    def tasks(self) -> frozenset[str]:
        """Ours that its columns are about."""
        return frozenset(map(task_of, self.columns.values()))

    @property
    def by_measure(self) -> bool:
        """Whether a column is another measure than what its task is scored by: an average would mean nothing."""
        return any("/" in target for target in self.columns.values())

    def check(self, row: Row, average: str) -> Average:
        """An average of a row, recomputed."""
        values = [row.values.get(column) for column in self.averages[average]]
        return check_average(values, row.averages.get(average))


def task_of(target: str) -> str:
    """The task that a column is about.

    Example:
        >>> task_of("cola"), task_of("matthews/cola")
        ('cola', 'cola')
    """
    return target.rpartition("/")[2]
