"""Hyper-parameters chosen on the validation split."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fusion_bench.algorithms.base import Algorithm
    from fusion_bench.modelpools.base import ModelPool


@dataclass(frozen=True)
class Search:
    """The best values, and all that were tried: ``tried[i]`` is (values, mean validation accuracy)."""

    best: dict[str, Any]
    tried: tuple[tuple[dict[str, Any], float], ...]

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the report."""
        return {"best": self.best, "tried": [[values, score] for values, score in self.tried]}


def grid_search(grid: Mapping[str, Sequence[Any]], score: Callable[[dict[str, Any]], float]) -> Search:
    """Try every combination; the best score wins, of equal ones the earlier.

    Args:
        grid: values by field.
        score: mean accuracy on the validation split of an algorithm with these values.

    Example:
        >>> grid_search({"scaling": [0.1, 0.2, 0.3]}, lambda values: -abs(values["scaling"] - 0.2)).best
        {'scaling': 0.2}
    """
    tried = [(values, score(values)) for values in combinations(grid)]
    best = max(tried, key=lambda item: item[1])[0]  # max keeps the first of equals
    return Search(best, tuple(tried))


def open_fields(
    config: Mapping[str, Any], overrides: Sequence[str], shipped: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The fields of ``config["search"]`` that the user did not fix.

    Args:
        config: the algorithm's part of the composed configuration.
        overrides: ``algorithm.field=value``, as typed.
        shipped: the algorithm's own YAML: where the composed value differs, a root configuration fixed it.

    Example:
        >>> open_fields({"search": {"scaling": [1, 2]}}, ["algorithm.scaling=0.4"])
        {}
    """
    grid = config.get("search") or {}
    if not isinstance(grid, Mapping):
        raise FusionBenchError(
            f"search is {grid!r}", hint="give lists of values by field: search: {scaling: [0.1, 0.2]}"
        )
    fixed = {override.partition("=")[0].lstrip("+").removeprefix("algorithm.") for override in overrides}
    fixed |= {name for name in grid if shipped is not None and config.get(name) != shipped.get(name)}
    return {name: values for name, values in grid.items() if name not in fixed}


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of a grid's values, the last field changing fastest; none of an empty grid.

    Raises:
        FusionBenchError: a field whose values are no list, or an empty one.

    Example:
        >>> combinations({"scaling": [1, 2]})
        [{'scaling': 1}, {'scaling': 2}]
    """
    for name, listed in grid.items():
        if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
            raise FusionBenchError(f"search.{name} is {listed!r}", hint="give a list of values to try")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid else []


class Candidates:
    """Fused models for values of a grid, on one pool.

    Along ``scaling`` a `TaskVectorAlgorithm` merges its task vectors once, and each value only takes a step of that
    size: the same bits as a run of its own.
    """

    def __init__(self, algorithm: Algorithm, pool: ModelPool) -> None:
        self._algorithm, self._pool = algorithm, pool
        self._delta: tuple[dict[str, Any], dict[str, Tensor]] | None = None

    def __call__(self, values: Mapping[str, Any]) -> nn.Module:
        """The model fused with these values."""
        from fusion_bench.algorithms.base import MergingAlgorithm, TaskVectorAlgorithm
        from fusion_bench.weights.task_vectors import add_task_vector

        candidate = dataclasses.replace(self._algorithm, **values)
        if (
            not isinstance(candidate, TaskVectorAlgorithm)
            or type(candidate).merge is not TaskVectorAlgorithm.merge  # somebody's own: what it does is not known here
            or type(candidate).run is not MergingAlgorithm.run
        ):
            return candidate.run(self._pool)
        others = {name: value for name, value in values.items() if name != "scaling"}
        base = self._pool.state_dict("base")
        if self._delta is None or self._delta[0] != others:
            experts = {name: self._pool.state_dict(name) for name in candidate.needed(self._pool.expert_names)}
            self._delta = (others, candidate.task_vector(base, experts))
        return self._pool.build(add_task_vector(base, self._delta[1], scaling=candidate.scaling))
