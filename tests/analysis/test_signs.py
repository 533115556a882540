from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_bench.analysis import sign_conflict
from fusion_bench.analysis.signs import Conflict

DELTAS = st.integers(1, 5).flatmap(
    lambda n: st.integers(1, 12).flatmap(
        lambda size: st.lists(st.lists(st.integers(-3, 3), min_size=size, max_size=size), min_size=n, max_size=n)
    )
)


def look(deltas: list[list[int]]):
    base = {"a.0.w": torch.zeros(len(deltas[0]))}
    return sign_conflict(base, [{"a.0.w": torch.tensor(row, dtype=torch.float32)} for row in deltas])


def by_hand(deltas: list[list[int]]) -> Conflict:
    contested = conflict = contested_mass = conflict_mass = mass = net = 0
    for column in zip(*deltas, strict=True):
        up, down = sum(d > 0 for d in column), sum(d < 0 for d in column)
        weight = sum(map(abs, column))
        contested += up + down >= 2
        contested_mass += weight * (up + down >= 2)
        conflict += up > 0 and down > 0
        conflict_mass += weight * (up > 0 and down > 0)
        mass += weight
        net += abs(sum(column))
    return Conflict(
        conflict / contested if contested else 0.0,
        conflict_mass / contested_mass if contested else 0.0,
        (mass - net) / mass if mass else 0.0,
    )


@given(DELTAS)
@settings(deadline=None)
def test_counted_by_hand(deltas: list[list[int]]) -> None:
    found = look(deltas)
    assert found.whole == found.layers["a.0"] == by_hand(deltas)
    for i, one in enumerate(deltas):
        for j, other in enumerate(deltas):
            both = [(a, b) for a, b in zip(one, other, strict=True) if a and b]
            assert found.pairs[i, j] == (sum(a * b < 0 for a, b in both) / len(both) if both else 0.0)


def test_planted_conflict() -> None:
    assert look([[1, 1, 1, 1], [1, -1, 1, -1], [0, 0, 0, 5]]).whole == Conflict(0.5, 9 / 13, (13 - 9) / 13)


def test_agreement_opposition_and_nothing() -> None:
    assert look([[1, -2], [3, -4]]).whole == Conflict(0.0, 0.0, 0.0)
    assert look([[1, -2], [-1, 2]]).whole == Conflict(1.0, 1.0, 1.0)
    assert look([[0, 0], [0, 0]]).whole == Conflict(0.0, 0.0, 0.0)
    assert look([[1, 0], [0, -1]]).whole == Conflict(0.0, 0.0, 0.0)  # nowhere do both move


@given(DELTAS, st.sampled_from([0.125, 0.5, 2.0, 64.0]))
@settings(deadline=None, max_examples=30)
def test_scaling_all_task_vectors_changes_nothing(deltas: list[list[int]], factor: float) -> None:
    assert look([[factor * d for d in row] for row in deltas]).whole == look(deltas).whole


def test_random_signs_are_near_chance() -> None:
    rng = np.random.default_rng(0)
    found = look(rng.choice([-1, 1], size=(4, 20_000)).tolist())
    assert found.chance == 0.875
    assert found.whole.share == pytest.approx(found.chance, abs=4 * np.sqrt(0.875 * 0.125 / 20_000))
    assert found.pairs[0, 1] == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 20_000))


def test_layers_add_up_to_the_whole() -> None:
    base = {"a.0.w": torch.zeros(3), "b.0.w": torch.zeros(1), "n": torch.tensor(1)}
    one = {"a.0.w": torch.tensor([1.0, 1.0, 1.0]), "b.0.w": torch.tensor([1.0]), "n": torch.tensor(2)}
    other = {"a.0.w": torch.tensor([1.0, 1.0, -1.0]), "b.0.w": torch.tensor([-1.0]), "n": torch.tensor(-2)}
    found = sign_conflict(base, {"x": one, "y": other})
    assert (found.layers["a.0"].share, found.layers["b.0"].share, found.whole.share) == (1 / 3, 1.0, 0.5)
