"""Shared options outside a class: ranges, weights by name."""

import pytest

from fusion_bench.algorithms.options import Density, Position, Scaling, Seed, checked, weights_by_name
from fusion_bench.errors import FusionBenchError


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Density, [1e-9, 0.2, 1, 1.0], [0, -0.1, 1.1, "0.2", True, None, float("nan")]),
        (Position, [0, 0.5, 1], [-1e-9, 1.1, "0"]),
        (Scaling, [-3, 0, 1e6], [float("inf"), float("nan"), "1", False]),
        (Seed, [0, 2**62], [-1, 1.0, "3", True]),
    ],
)
def test_ranges(kind, good, bad):
    for value in good:
        assert checked("x", value, kind) == value
    for value in bad:
        with pytest.raises(FusionBenchError, match="x = "):
            checked("x", value, kind)


def test_weights_sum_to_one_in_any_form():
    names = ["b", "a", "c"]
    for weights in (None, [1, 1, 1], {"a": 2, "b": 2, "c": 2}):
        assert list(weights_by_name(names, weights)) == names
        assert sum(weights_by_name(names, weights).values()) == pytest.approx(1)


def test_the_order_of_names_does_not_change_a_bit():
    weights = {"a": 0.1, "b": 0.2, "c": 0.3}
    assert weights_by_name(["c", "a", "b"], weights) == weights_by_name(["a", "b", "c"], weights)
