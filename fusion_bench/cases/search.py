"""Hyper-parameters chosen on the validation split."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_bench.errors import FusionBenchError


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
    for name, listed in grid.items():
        if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
            raise FusionBenchError(f"search.{name} is {listed!r}", hint="give a list of values to try")
    tried = []
    for combination in itertools.product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        tried.append((values, score(values)))
    best = max(tried, key=lambda item: item[1])[0]  # max keeps the first of equals
    return Search(best, tuple(tried))


def open_fields(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The fields of ``config["search"]`` that the user did not fix.

    Example:
        >>> open_fields({"search": {"scaling": [1, 2]}}, ["algorithm.scaling=0.4"])
        {}
    """
    fixed = {override.partition("=")[0].removeprefix("algorithm.") for override in overrides}
    return {name: values for name, values in (config.get("search") or {}).items() if name not in fixed}
