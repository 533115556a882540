"""Runs that are one case but for the seed: where a method has chance in it, they are one row, and a sample of seeds.

Pure, on results as dictionaries (`cases.CaseResult.to_dict`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Family(Generic[T]):
    """One run under its own name, or several with different seeds under the name that they have without one.

    ``members``: by seed, ascending.
    """

    name: str
    members: tuple[T, ...]

    @property
    def has_seeds(self) -> bool:
        """Whether it is of several seeds."""
        return len(self.members) > 1


def families(runs: Iterable[T], result_of: Callable[[T], Mapping[str, Any]]) -> list[Family[T]]:
    """Runs that differ in nothing but the seed of their method, put together; every other run alone.

    What makes a family is the fingerprint without the seed (``seedless`` in a result): the same options, models, data,
    and code. No two families have one name: of those that would, the first keeps it, and the others' runs stay single,
    but for those that a family replaces: an older run of the case without a seed, or the same seed once more.

    Args:
        runs: the newest first; of each case and seed one is enough.

    Example:
        >>> def result(seed, seedless="x"):
        ...     case = {"algorithm": "dare", "overrides": [], "seed": seed}
        ...     return {"case": case, "config": {"algorithm": {"seed": seed or 0}}, "seedless": seedless}
        >>> found = families([result(None), result(2), result(0), result(1, "other code")], lambda each: each)
        >>> [(family.name, [seed_of(member) for member in family.members]) for family in found]
        [('dare', [0, 2]), ('dare[seed=1]', [1])]
    """
    runs = list(runs)
    groups: dict[str, dict[int, T]] = {}
    for run in runs:
        key, seed = result_of(run).get("seedless"), seed_of(result_of(run))
        if key and seed is not None:
            groups.setdefault(str(key), {}).setdefault(seed, run)
    found: list[Family[T]] = []
    named: set[str] = set()
    done: set[str] = set()
    for run in runs:
        result = result_of(run)
        key, seed = str(result.get("seedless") or ""), seed_of(result)
        name = method_name(result["case"])
        several = seed is not None and len(groups.get(key, ())) > 1
        if several and key not in done and name not in named:
            done.add(key)
            named.add(name)
            found.append(Family(name, tuple(member for _, member in sorted(groups[key].items()))))
        elif several and key in done:
            continue
        elif (own := row_name(result["case"])) not in named or seed is None:
            named.add(own)
            found.append(Family(own, (run,)))
    return found


def row_name(case: Mapping[str, Any]) -> str:
    """The algorithm, with what was overridden, the seed where one was given and the device where it is no CPU.

    Example:
        >>> row_name({"algorithm": "ties", "overrides": ["algorithm.scaling=0.4"], "seed": 3})
        'ties[scaling=0.4,seed=3]'
    """
    changed = [str(override).removeprefix("algorithm.") for override in case.get("overrides", ())]
    changed += [f"seed={case['seed']}"] if case.get("seed") is not None else []
    changed += [f"device={case['device']}"] if case.get("device", "cpu") != "cpu" else []
    return str(case["algorithm"]) + (f"[{','.join(changed)}]" if changed else "")


def method_name(case: Mapping[str, Any]) -> str:
    """The row's name without the seed, however it was given.

    Example:
        >>> method_name({"algorithm": "dare_ties", "overrides": ["algorithm.seed=4", "algorithm.scaling=1"], "seed": 3})
        'dare_ties[scaling=1]'
    """
    overrides = [o for o in case.get("overrides", ()) if not str(o).lstrip("+").startswith("algorithm.seed=")]
    return row_name({**case, "overrides": overrides, "seed": None})


def seed_of(result: Mapping[str, Any]) -> int | None:
    """The seed that the method of a result drew with; None of a method without chance.

    Example:
        >>> seed_of({"config": {"algorithm": {"scaling": 0.3}}}), seed_of({"config": {"algorithm": {"seed": 4}}})
        (None, 4)
    """
    config = result.get("config")
    algorithm = config.get("algorithm") if isinstance(config, Mapping) else None
    seed = algorithm.get("seed") if isinstance(algorithm, Mapping) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None
