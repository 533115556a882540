"""What the simulations share: real sizes, correlated runs, and the verdict on a share of draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# the sizes of the embedded pool's test splits: no two tasks are alike
SIZES = np.array([1228, 1240, 1265, 1254, 1369, 1248, 1258, 1270])
# as unequal as the font families of "letters": 26 clusters, 1,369 examples
FAMILIES = np.array(
    [185, 128, 97, 88, 80, 74, 69, 66, 62, 59, 57, 55, 50, 49, 44, 38, 35, 30, 26, 22, 16, 12, 9, 7, 6, 5]
)


def share(hits: Any) -> float:
    """Share of draws in which something happened; enough draws that 95 % is known to a quarter of a point."""
    values = np.asarray(hits)
    assert math.sqrt(0.95 * 0.05 / values.size) < 0.0025, f"{values.size} draws tell too little"
    return float(values.mean())


def at_most(hits: Any, level: float) -> bool:
    """Whether a share of draws is compatible with a probability of at most ``level`` (three standard errors)."""
    values = np.asarray(hits)
    return float(values.mean()) <= level + 3 * math.sqrt(level * (1 - level) / values.size)


def covers(low: Any, high: Any, truth: float) -> Any:
    """Per draw, whether the interval contains the truth."""
    return (np.asarray(low) <= truth) & (truth <= np.asarray(high))


def run_pair(rng: np.random.Generator, n: int, gained: float, lost: float) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of two runs: the first alone is right with probability ``gained``, the second alone with ``lost``."""
    u = rng.random(n)
    both = u > (1 + gained + lost) / 2
    return both | (u < gained), both | ((u >= gained) & (u < gained + lost))


def clustered_counts(
    rng: np.random.Generator, draws: int, sizes: np.ndarray, probabilities: Any, correlation: float
) -> np.ndarray:
    """Counts of K kinds of outcome in each cluster, int ``(draws, G, K)``: Dirichlet-multinomial.

    ``correlation``: that of two examples of a cluster; 0 is allowed.
    """
    p = np.asarray(probabilities, dtype=float)
    shape = (draws, len(sizes))
    if correlation == 0:
        local = np.broadcast_to(p, (*shape, len(p)))
    else:
        gammas = rng.standard_gamma(p * (1 - correlation) / correlation, size=(*shape, len(p)))
        total = gammas.sum(axis=-1, keepdims=True)
        # where all gammas underflow, the cluster is of one kind
        kinds = np.eye(len(p))[rng.choice(len(p), p=p, size=shape)]
        local = np.where(total > 0, gammas / np.where(total > 0, total, 1.0), kinds)
    return rng.multinomial(np.broadcast_to(sizes, shape), local)
