"""Generalisation to tasks that no expert was tuned for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.taskpools.protocols.base import Group, Outcome, Protocol, Trial, named_alike


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Unseen(Protocol):
    """Some tasks are only evaluated: their experts cannot be read, and their validation examples choose nothing.

    Reports ``accuracy/seen_mean`` and ``accuracy/unseen_mean``, unweighted means over the seen and the unseen tasks,
    and ``normalized/seen_mean``; ``accuracy/mean`` is over all tasks, seen and unseen.

    The protocol of Yang et al. 2024, "AdaMerging", arXiv 2310.02575.

    Args:
        unseen: names of tasks.

    Example:
        >>> (trial,) = Unseen(unseen=["c"]).trials(["a", "b", "c"], ["a", "b", "c"])
        >>> trial.experts, trial.chosen_on, trial.tasks
        (('a', 'b'), ('a', 'b'), ('a', 'b', 'c'))
    """

    unseen: tuple[str, ...] = Field(min_length=1)

    def trials(
        self, tasks: Sequence[str], experts: Sequence[str], own: Mapping[str, str] | None = None
    ) -> tuple[Trial, ...]:
        for task in self.unseen:
            if task not in tasks:
                raise unknown_name("task", task, tasks, where="unseen")
        seen = tuple(task for task in tasks if task not in self.unseen)
        owners = named_alike(tasks, experts) if own is None else own
        hidden = {*self.unseen, *(owners[task] for task in self.unseen if task in owners)}
        given = tuple(name for name in experts if name not in hidden)
        if not seen or not given:
            raise FusionBenchError(
                f"with {', '.join(self.unseen)} unseen no task and expert is left", hint="name fewer tasks as unseen"
            )
        return (Trial("main", given, tuple(tasks), seen),)

    def groups(self, outcomes: Sequence[Outcome]) -> list[Group]:
        main = outcomes[0]
        seen = [task for task in main.trial.tasks if task not in self.unseen]
        unseen = [task for task in main.trial.tasks if task in self.unseen]
        found = [
            Group("accuracy", "seen", tuple(main.accuracy[task] for task in seen)),
            Group("accuracy", "unseen", tuple(main.accuracy[task] for task in unseen)),
        ]
        if set(seen) <= set(main.normalized):
            found.append(Group("normalized", "seen", tuple(main.normalized[task] for task in seen)))
        return found
