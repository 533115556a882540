"""Few labelled examples: how much a search loses when it may look at only some of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from fusion_bench.taskpools.protocols.base import Group, Outcome, Protocol, Standard, Trial, by_group, points


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FewShot(Protocol):
    """Hyper-parameters chosen on k labelled validation examples of each class of each task, several draws of them.

    The examples of a draw with few shots are among those with more. A class that has fewer gives all. For k shots the
    metrics ``accuracy/<k>_shot_mean``, ``_std`` (n - 1), ``_min``, ``_max`` are over draws of the mean over tasks on
    the test split; ``accuracy/all_shots_mean`` (and ``accuracy/mean``) is that of all validation examples. Nothing
    changes with the budget for an algorithm that has nothing to choose. Of values that score equally the earlier in
    the algorithm's ``search`` wins, which small budgets make frequent.

    Args:
        shots: the budgets k.
        draws: how often the examples are drawn.
        seed: of the draws.

    Example:
        >>> [trial.name for trial in FewShot(shots=[1, 5], draws=2).trials(["a"], ["a"])]
        ['main', '1 shot, draw 0', '1 shot, draw 1', '5 shot, draw 0', '5 shot, draw 1']
    """

    shots: tuple[Annotated[int, Field(strict=True, ge=1)], ...] = Field(default=(1, 2, 5, 10), min_length=1)
    draws: Annotated[int, Field(strict=True, ge=1)] = 5
    seed: Annotated[int, Field(strict=True, ge=0)] = 0

    def trials(
        self, tasks: Sequence[str], experts: Sequence[str], own: Mapping[str, str] | None = None
    ) -> tuple[Trial, ...]:
        (main,) = Standard().trials(tasks, experts, own)
        few = [
            Trial(
                f"{shots} shot, draw {draw}", main.experts, main.tasks, main.chosen_on,
                group=_group(shots), shots=shots, seed=self.seed, draw=draw,
            )
            for shots in dict.fromkeys(self.shots)
            for draw in range(self.draws)
        ]  # fmt: skip
        return (main, *few)

    def groups(self, outcomes: Sequence[Outcome]) -> list[Group]:
        found = by_group(outcomes)
        kept = ("mean", "std", "min", "max")
        few = [
            Group("accuracy", _group(shots), points(found[_group(shots)], "accuracy"), of="draws", statistics=kept)
            for shots in dict.fromkeys(self.shots)
        ]
        return [*few, Group("accuracy", "all_shots", points(outcomes[:1], "accuracy"), of="draws")]


def _group(shots: int) -> str:
    return f"{shots}_shot"
