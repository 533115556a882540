"""simple_average, weighted_average, task_arithmetic against NumPy in float64."""

import numpy as np
import pytest
import torch

from fusion_bench.algorithms.simple_average import simple_average
from fusion_bench.algorithms.task_arithmetic import TaskArithmetic, task_arithmetic
from fusion_bench.algorithms.weighted_average import WeightedAverage, weighted_average
from fusion_bench.errors import FusionBenchError

FLOATS = ("linear.weight", "tall.weight", "linear.bias", "stem.weight", "depthwise.weight", "token", "scale")


def arrays(state):
    return {name: state[name].double().numpy() for name in FLOATS}


def assert_equals(merged, expected):
    for name in FLOATS:
        np.testing.assert_array_equal(merged[name].numpy(), np.float32(expected[name]), err_msg=name)


@pytest.fixture
def models(make_models):
    return make_models(4)


def test_simple_average(models):
    base, experts = models
    states = [arrays(experts[name]) for name in sorted(experts)]
    assert_equals(simple_average(base, experts), {n: sum(s[n] for s in states) / 4 for n in FLOATS})


def test_average_does_not_lose_a_small_model_to_large_ones():
    experts = [{"w": torch.tensor([x])} for x in (1e8, 1.0, -1e8, 1.0)]
    assert float(simple_average({"w": torch.zeros(1)}, experts)["w"]) == 0.5  # float32 sums give 0.25


@pytest.mark.parametrize("form", [list, dict])
def test_weighted_average_by_order_and_by_name(models, form):
    base, experts = models
    numbers = dict(zip(experts, [3.0, 1.0, 0.0, -2.0], strict=True))
    weights = list(numbers.values()) if form is list else dict(reversed(numbers.items()))
    expected = {n: sum(w * arrays(experts[e])[n] for e, w in numbers.items()) / 2.0 for n in FLOATS}
    merged = WeightedAverage(weights=weights).merge(base, experts)
    for name in FLOATS:
        np.testing.assert_allclose(merged[name].numpy(), expected[name], rtol=1e-6, atol=1e-6)


def test_a_list_of_weights_follows_the_given_order_not_the_sorted_one():
    experts = {"b": {"w": torch.tensor([1.0])}, "a": {"w": torch.tensor([0.0])}}
    assert float(weighted_average({"w": torch.zeros(1)}, experts, weights=[3, 1])["w"]) == 0.75


def test_only_ratios_of_weights_matter(models):
    base, experts = models
    one, ten = (weighted_average(base, experts, weights=[c, c, 2 * c, c]) for c in (1.0, 8.0))
    assert all(torch.equal(one[n], ten[n]) for n in FLOATS)
    equal = weighted_average(base, experts)
    plain = simple_average(base, experts)
    assert all(torch.equal(equal[n], plain[n]) for n in FLOATS)  # a quarter is exact


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], "2 numbers for 4 experts"),
        ([1, 1, -1, -1], "sum to zero"),
        ({"cars": 1.0}, "none for mnist, svhn, dtd"),
        ({"cars": 1, "mnist": 1, "svhn": 1, "dtd": 1, "mnits": 1}, "did you mean 'mnist'"),
        ([1, 1, 1, float("inf")], r"weights\[3\]"),
    ],
)
def test_weights_that_do_not_fit(models, weights, message):
    with pytest.raises(FusionBenchError, match=message):
        weighted_average(*models, weights=weights)


def test_task_arithmetic(models):
    base, experts = models
    b, states = arrays(base), [arrays(experts[name]) for name in sorted(experts)]
    expected = {n: b[n] + 0.3 * sum(s[n] - b[n] for s in states) for n in FLOATS}
    assert_equals(TaskArithmetic().merge(base, experts), expected)


def test_task_arithmetic_at_one_over_t_is_the_average(models):
    merged, average = task_arithmetic(*models, scaling=0.25), simple_average(*models)
    for name in FLOATS:
        torch.testing.assert_close(merged[name], average[name])


def test_adding_and_then_subtracting_a_task_returns_to_the_base(models):
    base, experts = models
    one = {"cars": experts["cars"]}
    there = task_arithmetic(base, one, scaling=1.0)
    back = task_arithmetic(there, {"cars": base}, scaling=1.0)
    assert all(torch.equal(back[n], base[n]) for n in FLOATS)
    assert all(torch.equal(there[n], experts["cars"][n]) for n in FLOATS)


def test_half_precision_differences_do_not_cancel():
    base = {"w": torch.tensor([256.0], dtype=torch.bfloat16)}
    experts = [{"w": torch.tensor([258.0], dtype=torch.bfloat16)}] * 3
    merged = task_arithmetic(base, experts, scaling=1 / 3)["w"]
    assert float(merged) == 258.0


def test_scaling_must_be_finite(models):
    with pytest.raises(FusionBenchError, match="scaling = nan"):
        task_arithmetic(*models, scaling=float("nan"))
