"""Hyper-parameters chosen elsewhere: how much accuracy is lost on tasks whose own examples did not choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.protocols.base import Group, Outcome, Protocol, Standard, Trial, by_group

_LEFT_OUT, _ALONE, _WRITTEN = "leave_one_out", "one_task", "as_written"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Sensitivity(Protocol):
    """All experts are fused; only the tasks whose validation examples choose the hyper-parameters v differ.

    Let A_t(v) be the test accuracy of task t, and v(S) the values that do best on the validation examples of the
    tasks S, by their unweighted mean accuracy. With T the set of all tasks, and means over t or s in T:

    - ``lost/leave_one_out_mean`` = mean_t [A_t(v(T)) − A_t(v(T∖{t}))]: all other tasks chose;
    - ``lost/one_task_mean`` = mean_s mean_{t≠s} [A_t(v(T)) − A_t(v({s}))]: one other task chose, and
      ``lost/one_task_max`` for the task s whose choice costs most;
    - ``lost/as_written_mean`` = mean_t [A_t(v(T)) − A_t(v₀)]: nothing was chosen; v₀ are the values in the
      algorithm's YAML, which stand in the literature and were chosen on other models and tasks.

    A negative loss is a gain. ``accuracy/leave_one_out_mean`` and so on are the second terms alone;
    ``accuracy/all_tasks_mean`` (and ``accuracy/mean``) is mean_t A_t(v(T)), the first.

    Example:
        >>> [(t.name, t.chosen_on, t.tasks) for t in Sensitivity().trials(["a", "b"], ["a", "b"])][1:3]
        [('all but a', ('b',), ('a',)), ('all but b', ('a',), ('b',))]
    """

    def trials(
        self, tasks: Sequence[str], experts: Sequence[str], own: Mapping[str, str] | None = None
    ) -> tuple[Trial, ...]:
        if len(tasks) < 2:
            raise FusionBenchError("hyper-parameters cannot be chosen on other tasks: the pool has only one")
        (main,) = Standard().trials(tasks, experts, own)
        others = {task: tuple(other for other in tasks if other != task) for task in tasks}
        return (
            main,
            *(Trial(f"all but {t}", main.experts, (t,), others[t], group=_LEFT_OUT) for t in tasks),
            *(Trial(f"only {s}", main.experts, others[s], (s,), group=_ALONE) for s in tasks),
            Trial("as written", main.experts, main.tasks, (), group=_WRITTEN),
        )

    def groups(self, outcomes: Sequence[Outcome]) -> list[Group]:
        main, found = outcomes[0].accuracy, by_group(outcomes)

        def means(group: str) -> tuple[float, ...]:
            """One number for each trial of leaving out or choosing alone, one for each task of the written values."""
            if group == _WRITTEN:
                return tuple(found[group][0].accuracy.values())
            return tuple(sum(outcome.accuracy.values()) / len(outcome.accuracy) for outcome in found[group])

        def lost(group: str) -> tuple[float, ...]:
            if group == _WRITTEN:
                return tuple(main[task] - value for task, value in found[group][0].accuracy.items())
            return tuple(
                sum(main[task] - value for task, value in outcome.accuracy.items()) / len(outcome.accuracy)
                for outcome in found[group]
            )

        of = {_LEFT_OUT: "tasks left out", _ALONE: "tasks that chose", _WRITTEN: "tasks"}
        kept = {_ALONE: ("mean", "max")}
        return [
            Group("accuracy", "all_tasks", tuple(main.values())),
            *(Group("accuracy", group, means(group), of=of[group]) for group in of),
            *(Group("lost", group, lost(group), of=of[group], statistics=kept.get(group, ("mean",))) for group in of),
        ]
