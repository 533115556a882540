"""Which examples are worth their place in the page: those that tell the methods apart."""

from __future__ import annotations

import itertools

import numpy as np

METHODS = 16  # the best of them are what the choice is made for
EACH = 6  # examples that every pair of methods gets before any gets more

RULE = (
    f"Examples are chosen for the {METHODS} best methods: one after the other the example on which the most pairs of "
    f"methods differ (exactly one of the two is right) that have fewer than {EACH} yet, then fewer than {2 * EACH}, "
    f"{4 * EACH} and so on; of equals the one that comes first in the data."
)


def choose_examples(correct: np.ndarray, count: int) -> np.ndarray:
    """Positions of up to ``count`` examples, most telling first (`RULE`).

    Args:
        correct: bool ``(methods, n)``, best method first; two methods or more.

    Returns:
        int64 ``(k,)``, k ≤ ``count``: fewer where the methods differ on fewer examples.

    Example:
        >>> choose_examples(np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], bool), 5).tolist()
        [1, 2]
    """
    pairs = list(itertools.combinations(range(min(len(correct), METHODS)), 2))
    first, second = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    differ = (correct[first] != correct[second]).T.astype(np.float32)  # (n, pairs)
    candidates = np.flatnonzero(differ.any(axis=1))
    differ = differ[candidates]
    have, left = np.zeros(len(pairs)), differ.sum(axis=0)
    free = np.ones(len(candidates), dtype=bool)
    chosen: list[int] = []
    target = EACH
    while len(chosen) < min(count, len(candidates)):
        wanting = (have < target) & (left > 0)
        if not wanting.any():
            target *= 2
            continue
        gains = np.where(free, differ @ wanting.astype(np.float32), -1.0)
        best = int(np.argmax(gains))  # the first of equals
        free[best] = False
        have += differ[best]
        left -= differ[best]
        chosen.append(best)
    return candidates[chosen].astype(np.int64)
