"""What statistics start from: per task an array of outcomes, and which examples of it come from one source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError, nearest


@dataclass(frozen=True)
class Grouping:
    """Which cluster (writer, font family, base glyph) each example of a task belongs to.

    ``codes`` int64 ``(n,)`` in 0 ... G−1, ``sizes`` int64 ``(G,)``, all at least 1, G ≥ 2.
    """

    codes: np.ndarray
    sizes: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """int64 ``(n,)``: the examples sorted by cluster."""
        return np.argsort(self.codes, kind="stable")

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over each cluster along the last axis: ``(..., n)`` to ``(..., G)``."""
        starts = np.cumsum(self.sizes) - self.sizes
        return np.add.reduceat(values[..., self.order], starts, axis=-1)


def task_arrays(per_task: Mapping[str, ArrayLike], *, binary: bool = False, run: str = "") -> dict[str, np.ndarray]:
    """Outcomes as float64 arrays, checked.

    Args:
        per_task: per task one number an example, two examples or more.
        binary: refuse what is neither 0 nor 1; otherwise only what is not finite, for scores (see ``metrics.scores``).
        run: named in errors.

    Example:
        >>> task_arrays({"mnist": [True, False, True]})
        {'mnist': array([1., 0., 1.])}
    """
    if not per_task:
        raise FusionBenchError(f"no task{_of(run)}", hint="statistics need the outcomes of at least one task")
    return {task: _array(task, values, binary, run) for task, values in per_task.items()}


def paired_arrays(
    first: Mapping[str, ArrayLike], second: Mapping[str, ArrayLike], *, binary: bool = False
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Outcomes of two runs on the same examples, checked, per task in the order of ``first``.

    Example:
        >>> paired_arrays({"t": [1, 0]}, {"t": [1, 1]})
        {'t': (array([1., 0.]), array([1., 1.]))}
    """
    if set(first) != set(second):
        raise FusionBenchError(
            f"the runs share not the same tasks: {', '.join(sorted(map(str, set(first) ^ set(second))))}",
            hint="compare on the tasks that both have",
        )
    a, b = task_arrays(first, binary=binary), task_arrays(second, binary=binary)
    for task in a:
        if a[task].shape != b[task].shape:
            raise FusionBenchError(
                f"task {task}: {a[task].size} and {b[task].size} examples", hint="pairs need the same examples"
            )
    return {task: (a[task], b[task]) for task in a}


def groupings(clusters: Mapping[str, ArrayLike] | None, sizes: Mapping[str, int]) -> dict[str, Grouping | None]:
    """The clusters of each task of ``sizes`` (task to number of examples); None where a task has none.

    Args:
        clusters: per task one label an example (strings or integers); a task left out has independent examples.

    Example:
        >>> found = groupings({"letters": ["arimo", "lato", "arimo"]}, {"letters": 3, "mnist": 9})
        >>> found["letters"].sizes, found["mnist"]
        (array([2, 1]), None)
    """
    clusters = clusters or {}
    for task in clusters:
        if task not in sizes:
            near = nearest(str(task), map(str, sizes))
            meant = f"did you mean {' or '.join(near)}? " if near else ""
            raise FusionBenchError(
                f"clusters of the task {task}, of which there are no outcomes",
                hint=f"{meant}There are: {', '.join(map(str, sizes))}",
            )
    return {task: _grouping(task, clusters[task], n) if task in clusters else None for task, n in sizes.items()}


def is_binary(values: np.ndarray) -> bool:
    """Whether outcomes are right or wrong, 1 or 0, and not scores.

    By their values: scores that are all 0 or 1 are a share of examples, too, and where all are the same their spread
    would say that nothing is left to doubt; Wilson's interval does not.

    Example:
        >>> is_binary(np.array([0.0, 1.0])), is_binary(np.array([0.5, 1.0]))
        (True, False)
    """
    return bool(((values == 0) | (values == 1)).all())


def sizes_of(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The number of examples of each task."""
    return {task: values.shape[-1] for task, values in arrays.items()}


def check_level(level: float) -> float:
    """``level`` when it is a confidence level, in (0, 1)."""
    if not 0 < level < 1:
        raise FusionBenchError(f"confidence level {level}", hint="a fraction between 0 and 1, for instance 0.95")
    return float(level)


def check_alternative(alternative: str) -> str:
    """``alternative`` when it names one."""
    choices = ("two-sided", "less", "greater")
    if alternative not in choices:
        near = nearest(alternative, choices) or choices
        raise FusionBenchError(f"alternative {alternative!r}", hint=f"did you mean {' or '.join(map(repr, near))}?")
    return alternative


def same_tasks(runs: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> tuple[str, ...]:
    """The tasks that all (name, outcomes) share, in the order of the first; refused where tasks or examples differ."""
    expected: dict[str, int] | None = None
    whose = ""
    for name, arrays in runs:
        found = sizes_of(arrays)
        if expected is None:
            expected, whose = found, name
        elif set(found) != set(expected):
            odd = ", ".join(sorted(map(str, set(found) ^ set(expected))))
            raise FusionBenchError(
                f"{name} and {whose} share not the same tasks: {odd}", hint="use the tasks that all have"
            )
        else:
            for task, n in expected.items():
                if found[task] != n:
                    raise FusionBenchError(
                        f"task {task}: {n} examples of {whose} and {found[task]} of {name}",
                        hint="all runs need the same examples",
                    )
    return tuple(expected or ())


def _array(task: str, values: ArrayLike, binary: bool, run: str) -> np.ndarray:
    try:
        array = np.asarray(values)
        if array.dtype != np.bool_:
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise FusionBenchError(f"task {task}{_of(run)}: outcomes that are no numbers: {error}") from error
    if array.ndim != 1:
        raise FusionBenchError(
            f"task {task}{_of(run)}: outcomes of shape {array.shape}", hint="one number an example is meant"
        )
    if array.size < 2:
        raise FusionBenchError(f"task {task}{_of(run)}: {array.size} example(s)", hint="an interval needs at least two")
    if array.dtype == np.bool_:
        return array.astype(np.float64)
    fine = (array == 0) | (array == 1) if binary else np.isfinite(array)
    if not fine.all():
        place = int(np.argmin(fine))
        wanted = "0 or 1 (wrong or right)" if binary else "finite"
        raise FusionBenchError(
            f"task {task}{_of(run)}: the outcome of example {place} is {array[place]}", hint=f"must be {wanted}"
        )
    return array


def _grouping(task: str, labels: ArrayLike, n: int) -> Grouping:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise FusionBenchError(
            f"task {task}: cluster labels of shape {array.shape} for {n} examples", hint="one label an example is meant"
        )
    missing = _missing(array)
    if missing.any():
        raise FusionBenchError(
            f"task {task}: example {int(np.argmax(missing))} has no cluster label",
            hint="label it, or leave the task out of the clusters",
        )
    if array.dtype == object:
        array = array.astype(str)
    _, codes, sizes = np.unique(array, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise FusionBenchError(
            f"task {task}: all {n} examples are of one cluster",
            hint="nothing can be said of other clusters; leave the task out of the clusters to speak of this one only",
        )
    return Grouping(codes.reshape(-1), sizes)


def _missing(array: np.ndarray) -> np.ndarray:
    if array.dtype == object:
        return np.array([label is None or label != label for label in array], dtype=bool)
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)


def _of(run: str) -> str:
    return f" of {run}" if run else ""
