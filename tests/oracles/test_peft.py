"""peft.utils.merge_utils, tensor by tensor."""

import pytest
import torch
from torch.testing import assert_close

from fusion_bench.merging import merge
from tests.oracles.conftest import models

SHAPES = {"a": (24, 16), "b": (40,), "c": (7, 3)}


@pytest.fixture(scope="module")
def merge_utils():
    reason = "peft is not installed: pip install -e '.[oracles]'"
    return pytest.importorskip("peft.utils.merge_utils", reason=reason)


@pytest.fixture(scope="module")
def given():
    return models(SHAPES, 4)


def per_tensor(given, function):
    base, experts = given
    return {name: base[name] + function([e[name] - base[name] for e in experts.values()]) for name in base}


def check(merged, expected):
    for name, tensor in expected.items():
        assert_close(merged[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("density", [0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("weights", [[1.0] * 4, [0.3, 1.0, 2.0, 0.5]])
def test_ties(density, weights, given, merge_utils):
    expected = per_tensor(given, lambda deltas: merge_utils.ties(deltas, torch.tensor(weights), density, "total"))
    merged = merge("ties_peft", base=given[0], experts=given[1], density=density, weights=weights)
    check(merged, expected)


def test_equal_weights_scale_the_mean(given, merge_utils):
    """peft's rule: w·mean, where mergekit's weights cancel."""
    whole = merge("ties_peft", base=given[0], experts=given[1], density=0.3)
    half = merge("ties_peft", base=given[0], experts=given[1], density=0.3, weights=[0.5] * 4)
    cancelled = merge("ties_mergekit", base=given[0], experts=given[1], density=0.3, weights=[0.5] * 4)
    for name, tensor in given[0].items():
        assert_close(half[name] - tensor, (whole[name] - tensor) / 2, rtol=1e-4, atol=1e-6)
        assert_close(cancelled[name], whole[name], rtol=1e-5, atol=1e-6)


def test_task_arithmetic(given, merge_utils):
    expected = per_tensor(given, lambda deltas: 0.4 * merge_utils.task_arithmetic(deltas, torch.ones(4)))
    check(merge("task_arithmetic", base=given[0], experts=given[1], scaling=0.4), expected)


def test_dare_ties_agrees_on_average(given, merge_utils):
    """Masks are random in both: over many, both have the mean of signs elected after thinning."""
    base, experts = given
    torch.manual_seed(0)
    runs = 300
    theirs = [per_tensor(given, lambda d: merge_utils.dare_ties(d, torch.ones(4), 0.5, "total")) for _ in range(runs)]
    ours = [merge("dare_ties_peft", base=base, experts=experts, density=0.5, seed=s) for s in range(runs)]
    for name in base:
        a, b = (torch.stack([r[name] for r in many]).double() for many in (theirs, ours))
        error = ((a.var(0) + b.var(0)) / runs).sqrt() + 1e-9
        assert ((a.mean(0) - b.mean(0)).abs() / error).max() < 5.5  # about 450 entries
