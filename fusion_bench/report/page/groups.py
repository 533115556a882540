"""Which runs may stand in one table: those of the same pools that were evaluated on the same examples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fusion_bench.families import Family, families
from fusion_bench.report.page.runs import Run, where


@dataclass(frozen=True)
class Group:
    """Runs of one model pool and task pool on the same examples of the same tasks, newest first."""

    experiment: str
    modelpool: str
    taskpool: str
    data: Mapping[str, str]
    runs: tuple[Run, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the newest run."""
        return self.runs[0].tasks

    @cached_property
    def newest(self) -> dict[str, Run]:
        """The newest run of each method, by label."""
        found: dict[str, Run] = {}
        for run in self.runs:
            found.setdefault(run.label, run)
        return found

    @cached_property
    def methods(self) -> dict[str, Family[Run]]:
        """The newest run of each method, or runs where it ran with several seeds, by the name of its row."""
        return {family.name: family for family in families(self.newest.values(), lambda run: run.result)}

    @cached_property
    def digest(self) -> str:
        """Eight digits for all the examples together."""
        text = "\n".join(f"{task} {self.data[task]}" for task in sorted(self.data))
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def grouped(runs: Iterable[Run]) -> tuple[list[Group], list[str]]:
    """The runs in groups that can be compared, and a note on each run that belongs to none.

    Experiments come by the number of their methods, most first; within one the newest group first, those of a single
    run last. A run that does not say what it was evaluated on is left out: nobody could tell what it may be compared
    with.

    Example:
        >>> grouped([])
        ([], [])
    """
    found: dict[tuple[Any, ...], list[Run]] = {}
    notes = []
    for run in sorted(runs, key=lambda run: (-run.started.timestamp(), run.run_id)):
        flaw = _flaw(run.result)
        if flaw:
            notes.append(f"{where(run)}: left out, {flaw}")
            continue
        silent = [task for task in run.tasks if not run.data.get(task)]
        if silent:
            notes.append(f"{where(run)}: does not say on which examples of {', '.join(silent)} it was evaluated")
            continue
        case = run.result["case"]
        data = tuple(sorted((task, run.data[task]) for task in run.tasks))
        found.setdefault((run.experiment, case["modelpool"], case["taskpool"], data), []).append(run)
    groups = [
        Group(experiment, modelpool, taskpool, dict(data), tuple(members))
        for (experiment, modelpool, taskpool, data), members in found.items()
    ]
    groups.sort(key=lambda group: len(group.newest) < 2)  # one run alone is nothing to open a page with
    order = list(dict.fromkeys(group.experiment for group in sorted(groups, key=lambda group: -len(group.newest))))
    return sorted(groups, key=lambda group: order.index(group.experiment)), notes


def _flaw(result: Mapping[str, Any]) -> str | None:
    """What is wrong with the parts of a result that not every run must have; None where nothing is."""
    named = ("references", "reference_measures", "search", "config")
    shapes: dict[str, type] = {**dict.fromkeys(named, dict), "data_access": list}
    wrong = [name for name, kind in shapes.items() if not isinstance(result.get(name, kind()), kind)]
    for part in ("references", "reference_measures"):
        if part not in wrong and not all(
            isinstance(numbers, dict) and all(isinstance(value, int | float) for value in numbers.values())
            for numbers in result.get(part, {}).values()
        ):
            wrong.append(part)
    interval = result.get("interval")
    if interval and not (len(interval) == 2 and all(isinstance(end, int | float) for end in interval)):
        wrong.append("interval")
    return f"its report.json has no proper {', '.join(wrong)}" if wrong else None


def split_notes(groups: Sequence[Group]) -> dict[str, str]:
    """By experiment, what a reader must know where its runs were evaluated on different examples."""
    found = {}
    for experiment in dict.fromkeys(group.experiment for group in groups):
        several = [group for group in groups if group.experiment == experiment]
        if len(several) > 1:
            parts = ", ".join(f"{group.digest} ({len(group.runs)} runs)" for group in several)
            found[experiment] = (
                f"The runs of {experiment} were evaluated on {len(several)} different sets of examples: {parts}. Each "
                "set has a board of its own; nothing is averaged, ranked or tested across them."
            )
    return found
