"""Letters say exactly what the tests said, no more and no less."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_bench.metrics.groups import indistinguishable_groups, letters


@st.composite
def graphs(draw: st.DrawFn) -> np.ndarray:
    count = draw(st.integers(1, 9))
    different = np.zeros((count, count), dtype=bool)
    for i, j in itertools.combinations(range(count), 2):
        different[i, j] = different[j, i] = draw(st.booleans())
    return different


@settings(deadline=None)
@given(graphs())
def test_groups_are_all_largest_sets_without_a_difference(different: np.ndarray) -> None:
    count = len(different)
    # brute force over all subsets
    alike = [
        set(s)
        for size in range(1, count + 1)
        for s in itertools.combinations(range(count), size)
        if not different[np.ix_(s, s)].any()
    ]
    largest = sorted(tuple(sorted(s)) for s in alike if not any(s < other for other in alike))
    groups = indistinguishable_groups(different)
    assert groups == largest
    labels = letters(groups, count)
    for i, j in itertools.combinations(range(count), 2):
        assert bool(set(labels[i]) & set(labels[j])) == (not different[i, j])


def test_the_example_of_five_treatments() -> None:
    # means in order; neighbours within one step are alike
    steps = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    assert letters(indistinguishable_groups(steps > 1), 5) == ["a", "ab", "bc", "cd", "d"]
    assert letters(indistinguishable_groups(steps > 0), 5) == list("abcde")
    assert letters(indistinguishable_groups(steps > 9), 5) == ["a"] * 5


def test_more_groups_than_letters() -> None:
    labels = letters([(k,) for k in range(60)], 60)
    assert len(set(labels)) == 60
    assert labels[51:54] == ["Z", "a2", "b2"]


def test_hundreds_of_runs_in_a_chain() -> None:
    steps = np.abs(np.subtract.outer(np.arange(400), np.arange(400)))
    groups = indistinguishable_groups(steps > 40)
    assert groups == [tuple(range(k, k + 41)) for k in range(360)]
