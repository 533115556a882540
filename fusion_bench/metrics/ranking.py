"""Ranking many runs on the same examples: which are better for sure, and which cannot be told apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.groups import indistinguishable_groups, letters
from fusion_bench.metrics.multiplicity import holm_array
from fusion_bench.metrics.outcomes import Grouping, check_level, groupings, same_tasks, sizes_of, task_arrays
from fusion_bench.metrics.seeds import seeded_difference
from fusion_bench.metrics.variance import Layout, clustered, pooled_degrees, tail

Outcomes = Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Ranking:
    """R runs, the best mean over tasks first (equal means: by name).

    ``names``, ``means``; ``p_values`` float64 ``(R, R)``, Holm-corrected, of equal means for each pair (diagonal 1);
    ``better`` and ``worse``: how many runs each is significantly better and worse than; ``groups``: the largest groups
    of runs that cannot be told apart; ``letters``: per run the letters of its groups; ``rank_ranges``: per run the best
    and the worst rank that the tests leave open (1 is best).
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    p_values: np.ndarray
    better: tuple[int, ...]
    worse: tuple[int, ...]
    groups: tuple[tuple[str, ...], ...]
    letters: Mapping[str, str]
    rank_ranges: Mapping[str, tuple[int, int]]
    alpha: float


def rank_runs(
    runs: Mapping[str, Outcomes | Sequence[Outcomes]],
    *,
    alpha: float = 0.05,
    clusters: Mapping[str, ArrayLike] | None = None,
) -> Ranking:
    """Compare all pairs of runs by their mean over tasks, paired, corrected for the number of pairs.

    For each pair z = Σ_t d_t / √(Σ_t V_t + 2 Σ_t 1/(T n_t²)), with d_t the difference of a task and V_t its variance
    (clusters respected); the second sum, two discordant examples in the whole, keeps pairs that hardly differ from
    looking sure. Against the normal law, or Student's t where there are clusters; Holm's correction over the R(R−1)/2
    pairs. So with probability 1 − alpha at least, no pair is separated that is equal, and all ``rank_ranges`` contain
    the true ranks. (`paired_difference` of one pair takes the exact law; the two agree where examples are many.)
    Methods with several seeds are compared by `seeds.seeded_difference`: seeds and examples are both a sample.

    Source: rank ranges from pairwise tests: Al Mohamad, van Zwet, Goeman 2022, "Simultaneous confidence intervals for
    ranks with application to ranking institutions".

    Args:
        runs: per run and task a bool or 0/1 array with one entry an example, or scores; the same examples in all runs.
            Of a method with chance in it a list of such runs, one a seed, two or more.
        alpha: probability of any false separation.
        clusters: per task one label an example; tasks left out have independent examples.

    Example:
        >>> runs = {"a": {"t": [1, 1, 0, 1] * 100}, "b": {"t": [1, 0, 0, 1] * 100}, "c": {"t": [1, 0, 0, 1] * 100}}
        >>> found = rank_runs(runs)
        >>> found.groups, dict(found.letters), dict(found.rank_ranges)
        ((('a',), ('b', 'c')), {'a': 'a', 'b': 'b', 'c': 'b'}, {'a': (1, 1), 'b': (2, 3), 'c': (2, 3)})
    """
    check_level(alpha)
    if not runs:
        raise FusionBenchError("no runs to rank", hint="give two or more")
    arrays = {name: _mean_over_seeds(given, name) for name, given in runs.items()}
    tasks = same_tasks(arrays.items())
    groups = groupings(clusters, sizes_of(next(iter(arrays.values()))))
    means = {
        # the exact sum: runs that are equal stay equal whatever the order of tasks
        name: math.fsum(values[task].mean() for task in tasks) / len(tasks)
        for name, values in arrays.items()
    }
    names = tuple(sorted(means, key=lambda name: (-means[name], name)))
    stacked = ((np.stack([arrays[name][task] for name in names]), groups[task]) for task in tasks)
    found_p = pair_p_values(stacked, len(tasks))
    seeded = {i for i, name in enumerate(names) if not isinstance(runs[name], Mapping)}
    for i, k in itertools.combinations(range(len(names)), 2):
        if i in seeded or k in seeded:
            found_p[i, k] = found_p[k, i] = seeded_difference(runs[names[i]], runs[names[k]], clusters=clusters).p_value
    p_values = _corrected(found_p)
    centre = np.array([means[name] for name in names])
    higher = centre[:, None] > centre[None, :]
    different = p_values <= alpha
    better = (different & higher).sum(axis=1)
    worse = (different & higher).sum(axis=0)
    found = indistinguishable_groups(different)
    return Ranking(
        names=names,
        means=tuple(means[name] for name in names),
        p_values=p_values,
        better=tuple(map(int, better)),
        worse=tuple(map(int, worse)),
        groups=tuple(tuple(names[item] for item in group) for group in found),
        letters=dict(zip(names, letters(found, len(names)), strict=True)),
        rank_ranges={name: (1 + int(worse[i]), len(names) - int(better[i])) for i, name in enumerate(names)},
        alpha=alpha,
    )


def _mean_over_seeds(given: Outcomes | Sequence[Outcomes], name: str) -> dict[str, np.ndarray]:
    """Per task the share of seeds that are right, example by example: 0 or 1 of a single run."""
    if isinstance(given, Mapping):
        return task_arrays(given, run=name)
    seeds = [task_arrays(outcomes, run=f"a seed of {name}") for outcomes in given]
    tasks = same_tasks((f"seed {number + 1} of {name}", found) for number, found in enumerate(seeds))
    return {task: np.mean([found[task] for found in seeds], axis=0) for task in tasks}


def pair_p_values(stacked: Any, tasks: int) -> np.ndarray:
    """Two-sided p-values, not corrected, of equal means for each pair of runs; float64 ``(R, R)``, diagonal 1.

    Args:
        stacked: per task float64 ``(R, n_t)`` outcomes and their `Grouping` or None.
        tasks: T.
    """
    difference: Any = 0.0
    pseudo = 0.0
    variances, degrees = [], []
    for outcomes, grouping in stacked:
        mean = outcomes.mean(axis=1)
        difference = difference + (mean[:, None] - mean[None, :])
        unit = float(np.abs(outcomes).max()) or 1.0  # 1 where they are right or wrong
        pseudo += 2 * unit**2 / (tasks * outcomes.shape[1] ** 2)
        variance, df = _pair_variances(outcomes - mean[:, None], grouping)
        variances.append(variance)
        degrees.append(df)
    spread = np.stack(variances, axis=-1)
    statistic = np.abs(difference) / np.sqrt(spread.sum(axis=-1) + pseudo)
    p_values = 2 * tail(statistic, pooled_degrees(spread, np.stack(degrees, axis=-1)))
    np.fill_diagonal(p_values, 1.0)
    return np.minimum(p_values, 1.0)


def _pair_variances(centred: np.ndarray, grouping: Grouping | None) -> tuple[np.ndarray, np.ndarray]:
    """Variance of each pair's mean difference in one task, from products of matrices: no loop over pairs."""
    n = centred.shape[1]
    squares = _of_differences(centred @ centred.T)
    if grouping is None:
        return squares / (n - 1) / n, np.full(squares.shape, np.inf)
    layout = Layout.of(grouping.sizes)
    sums = grouping.sums(centred)
    sandwich = _of_differences((sums * layout.correction) @ sums.T)
    between = _of_differences((sums / layout.sizes) @ sums.T)
    return clustered(squares, sandwich, between, layout)


def _of_differences(gram: np.ndarray) -> np.ndarray:
    """|x_i − x_j|² from ⟨x_i, x_j⟩."""
    own = np.diag(gram)
    return np.maximum(own[:, None] + own[None, :] - 2 * gram, 0.0)


def _corrected(p_values: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(len(p_values), 1)
    found = np.ones_like(p_values)
    found[rows, columns] = found[columns, rows] = holm_array(p_values[rows, columns])
    return found
