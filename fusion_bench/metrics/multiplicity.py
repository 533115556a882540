"""Many tests at once: p-values corrected so that one false alarm among all of them is rare."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from fusion_bench.errors import FusionBenchError

Key = TypeVar("Key", bound=Hashable)


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Holm's corrected p-values, under the same keys in the same order: those at most α are significant together.

    The k-th smallest of m times m − k + 1, no smaller than the one before, at most 1. The probability of any false
    rejection is at most α however the tests depend on each other.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    Args:
        p_values: in [0, 1]; keys may be anything that names a test: a task, a pair of runs, (method, task).

    Example:
        >>> holm({"mnist": 0.01, "letters": 0.04, "animals": 0.03})
        {'mnist': 0.03, 'letters': 0.06, 'animals': 0.06}
    """
    for key, value in p_values.items():
        if math.isnan(value):
            raise FusionBenchError(f"the p-value of {key} is not a number", hint="leave out the test that failed")
        if not 0 <= value <= 1:
            raise FusionBenchError(f"the p-value of {key} is {value}", hint="a probability in [0, 1]")
    corrected = holm_array(np.array(list(p_values.values()), dtype=np.float64))
    return dict(zip(p_values, corrected.tolist(), strict=True))


def holm_array(p_values: np.ndarray) -> np.ndarray:
    """`holm` of float64 ``(m,)`` of probabilities.

    Example:
        >>> holm_array(np.array([0.5, 0.25]))
        array([0.5, 0.5])
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return corrected
