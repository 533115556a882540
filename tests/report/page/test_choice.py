from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fusion_bench.report.page.choice import EACH, METHODS, choose_examples


def test_every_pair_gets_its_share_before_any_gets_more():
    """Two methods that differ on few examples would get none of them if the most contested ones came first."""
    rng = np.random.default_rng(0)
    correct = rng.random((6, 400)) < 0.5
    correct[5] = correct[4]
    rare = rng.choice(400, 8, replace=False)
    correct[5, rare] = ~correct[5, rare]
    chosen = choose_examples(correct, 60)
    for a, b in itertools.combinations(range(6), 2):
        assert (correct[a] != correct[b])[chosen].sum() >= EACH


@given(arrays(bool, st.tuples(st.integers(2, 5), st.integers(1, 30))), st.integers(0, 40))
def test_only_examples_that_tell_methods_apart_and_each_once(correct, count):
    chosen = choose_examples(correct, count)
    telling = np.flatnonzero(correct.any(axis=0) & ~correct.all(axis=0))
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(telling))
    assert set(chosen.tolist()) <= set(telling.tolist())


def test_fewer_are_the_first_of_more():
    correct = np.random.default_rng(1).random((5, 200)) < 0.6
    assert choose_examples(correct, 10).tolist() == choose_examples(correct, 80)[:10].tolist()


def test_methods_beyond_the_best_do_not_count():
    correct = np.zeros((METHODS + 1, 3), dtype=bool)
    correct[METHODS, 0] = True
    correct[0, 2] = True
    assert choose_examples(correct, 5).tolist() == [2]
