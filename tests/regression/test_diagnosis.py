"""Where to look first: each part of the system is told from the others by what moved with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusion_bench.regression import from_result
from fusion_bench.regression.diagnosis import common_cause, diagnose, listed, moved, rounding_bound
from tests.helpers.results import make_result, right

LOW = {"a": right(400, 0.3), "b": right(300, 0.3)}
HIGH = {"a": right(400, 0.9), "b": right(300, 0.9)}


def measured(**options):
    return from_result(make_result(**options), date="2026-11-25")


def test_other_labels_with_the_same_predictions() -> None:
    old, now = measured(), measured(correct={"a": right(400, 0.5), "b": right(300, 0.5)})
    now.outcomes["a"]["predictions"] = old.outcomes["a"]["predictions"]
    assert diagnose(old, now, 0.0).startswith("the labels of a: the predictions are the same")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": {"a": "x", "b": "d"}}, "the data of a"),
        ({"base": {**LOW, "a": right(400, 0.2), "b": right(300, 0.2)}}, "how pictures reach the model"),
        ({"base": {**LOW, "a": right(400, 0.2)}}, "prompts, labels or pictures of a"),
        ({"experts": {**HIGH, "b": right(300, 0.1)}}, "the experts of b"),
        ({"config": {"algorithm": {"scaling": 0.4}}, "plugins": {"mine": "y"}}, "the options: algorithm.scaling"),
        ({"plugins": {"mine": "y"}}, "your own code: mine"),
        ({}, "the method ties or the weights engine: base model and experts score as before"),
    ],
)
def test_the_part_that_explains_most(options, said: str) -> None:
    old = measured(base=LOW, experts=HIGH, plugins={"mine": "x"})
    now = measured(**{"base": LOW, "experts": HIGH, "plugins": {"mine": "x"}, **options})
    assert diagnose(old, now, 0.0).startswith(said)


def test_versions_are_named_beside_the_method() -> None:
    now = dataclasses.replace(measured(), versions={"torch": "2.15"})
    assert "or what it runs on (torch)" in diagnose(measured(), now, 0.0)


def test_a_reference_that_rounding_may_have_turned_has_not_moved() -> None:
    turned = HIGH["a"].copy()
    turned[0] = False
    old = measured(experts=HIGH)
    for machine, found in (("m", {"expert": ["a"]}), ("other", {})):
        now = measured(experts={**HIGH, "a": turned}, machine=machine)
        assert moved(old, now, rounding=0.001, tail=1e-4) == found


def test_a_bound_that_nothing_exceeds() -> None:
    assert rounding_bound(50, 1.0, 1e-6) == 50
    draws = np.random.default_rng(0).binomial(500, 0.01, size=20000)
    assert np.mean(draws > rounding_bound(500, 0.01, 0.05)) <= 0.055


def test_a_cause_is_common_to_several_cases_or_none() -> None:
    assert common_cause(["x", "x"], ["a", "b"]) == "all 2 say the same: x"
    assert common_cause(["x", "y"], ["a", "b"]) == common_cause(["x"], ["a"]) == ""
    assert listed("ab") == "a, b"
