"""The bootstrap within tasks, drawn as counts: what is drawn how often matters, not which example it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.metrics.outcomes import Grouping


@dataclass(frozen=True)
class Atoms:
    """The distinct units of a task (examples, or clusters of them) and how often each occurs.

    ``sums`` and ``sizes`` float64 ``(K,)``: a unit's sum of values and its number of examples; ``counts`` float64
    ``(K,)``, which need not be whole.
    """

    sums: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, grouping: Grouping | None = None) -> Atoms:
        """From float64 ``(n,)``.

        Example:
            >>> Atoms.of(np.array([0.0, 1.0, 0.0])).counts
            array([2., 1.])
        """
        if grouping is None:
            sums, counts = np.unique(values, return_counts=True)
            return cls(sums, np.ones_like(sums), counts.astype(np.float64))
        pairs = np.stack([grouping.sums(values), grouping.sizes.astype(np.float64)])
        units, counts = np.unique(pairs, axis=1, return_counts=True)
        return cls(units[0], units[1], counts.astype(np.float64))

    def with_pseudo_pair(self, unit: float, weight: float) -> Atoms:
        """With ``weight`` single examples of value ``unit`` more, and as many of −``unit``."""
        return Atoms(
            np.append(self.sums, [unit, -unit]),
            np.append(self.sizes, [1.0, 1.0]),
            np.append(self.counts, [weight, weight]),
        )


def bootstrap_means(
    tasks: Sequence[Atoms], units: Sequence[int], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws of the mean over tasks of the mean over a task's examples, float64 ``(resamples,)``.

    Each task draws its units − 1 units with replacement, independently: one fewer than there are, so that the variance
    of the draws is the unbiased one (Rao and Wu 1988, "Resampling inference with complex survey data").

    Args:
        tasks: the units of each task.
        units: how many units (examples or clusters) each task has, two or more.
        rng: all chance comes from here.
    """
    means = np.zeros(resamples)
    for atoms, count in zip(tasks, units, strict=True):
        drawn = rng.multinomial(count - 1, atoms.counts / atoms.counts.sum(), size=resamples)
        means += (drawn @ atoms.sums) / (drawn @ atoms.sizes)
    return means / len(tasks)
