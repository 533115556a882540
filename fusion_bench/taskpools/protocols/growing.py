"""More and more tasks: how a method fares as the number of experts grows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from fusion_bench.datasets.seeding import seed_of
from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools.protocols.base import Group, Outcome, Protocol, Trial, by_group, named_alike, points


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Growing(Protocol):
    """Fuses subsets of the experts, each evaluated on its own tasks, with their validation examples to choose.

    Of each size all subsets where there are at most ``subsets``, else that many different ones, drawn with equal
    chances. Which ones stands in the report. For size m the metrics ``accuracy/<m>_tasks_mean``, ``_std`` (n - 1),
    ``_min``, ``_max`` are over subsets of a subset's mean over its tasks; ``normalized/<m>_tasks_…`` likewise, which
    does not mistake harder tasks for worse fusion. ``accuracy/mean`` is of all experts on all tasks.

    Args:
        sizes: numbers of experts; 2 to all where not given.
        subsets: at most, of each size.
        seed: of the draw.

    Example:
        >>> [trial.name for trial in Growing(subsets=3).trials(["a", "b", "c"], ["a", "b", "c"])]
        ['a+b+c', 'a+b', 'a+c', 'b+c']
    """

    sizes: tuple[Annotated[int, Field(strict=True, ge=1)], ...] | None = None
    subsets: Annotated[int, Field(strict=True, ge=1)] = 8
    seed: Annotated[int, Field(strict=True, ge=0)] = 0

    def trials(
        self, tasks: Sequence[str], experts: Sequence[str], own: Mapping[str, str] | None = None
    ) -> tuple[Trial, ...]:
        owners = named_alike(tasks, experts) if own is None else own
        names = [name for name in experts if name in owners.values()]
        sizes = tuple(range(2, len(names) + 1)) if self.sizes is None else self.sizes
        # the main trial is the largest subset, but for a pool with tasks that have no expert, or the other way round
        all_own = len(names) == len(experts) and len(owners) == len(tasks)
        largest = len(names) if len(names) in sizes and all_own else None
        group = "main" if largest is None else _group(largest)
        found = [Trial("+".join(experts), tuple(experts), tuple(tasks), tuple(tasks), group=group)]
        for size in dict.fromkeys(sizes):
            if size > len(names):
                raise FusionBenchError(
                    f"subsets of {size} experts of {len(names)}", hint=f"sizes are numbers from 1 to {len(names)}"
                )
            if size != largest:
                for given in self._subsets(names, size):
                    theirs = tuple(task for name in given for task in tasks if owners.get(task) == name)
                    found.append(Trial("+".join(given), given, theirs, theirs, group=_group(size)))
        return tuple(found)

    def _subsets(self, names: Sequence[str], size: int) -> list[tuple[str, ...]]:
        if math.comb(len(names), size) <= self.subsets:
            return list(itertools.combinations(names, size))
        generator = np.random.default_rng(seed_of(self.seed, "subsets", size))
        drawn: set[tuple[int, ...]] = set()
        while len(drawn) < self.subsets:
            drawn.add(tuple(sorted(generator.permutation(len(names))[:size].tolist())))
        return [tuple(names[position] for position in positions) for positions in sorted(drawn)]

    def groups(self, outcomes: Sequence[Outcome]) -> list[Group]:
        found = by_group(outcomes)
        names = sorted((name for name in found if name.endswith(_SUFFIX)), key=lambda n: int(n.removesuffix(_SUFFIX)))
        kept = ("mean", "std", "min", "max")
        return [
            Group(metric, name, of_subsets, of="subsets", statistics=kept)
            for metric in ("accuracy", "normalized")
            for name in names
            if (of_subsets := points(found[name], metric))
        ]


_SUFFIX = "_tasks"


def _group(size: int) -> str:
    return f"{size}{_SUFFIX}"
