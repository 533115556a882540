"""The gate's arithmetic: what fails, what does not, and what is said."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from fusion_bench.regression import Baseline, Settings, Verdict, from_result, judge, message
from fusion_bench.regression.diagnosis import rounding_bound
from tests.helpers.results import make_result, right


def measured(**options) -> Baseline:
    return from_result(make_result(**options), date="2026-11-25")


def turned(accuracy: float, lost: int, gained: int, n: int = 2000) -> np.ndarray:
    found = right(n, accuracy)
    edge = int(found.sum())
    found[:lost] = False
    found[edge : edge + gained] = True
    return found


def test_the_same_is_as_before() -> None:
    verdict = judge(measured(), measured(), Settings())
    assert (verdict.status, verdict.findings, verdict.changes) == ("as before", (), ())
    assert not verdict.fails


def test_a_deterministic_case_may_change_nothing_on_the_same_machine() -> None:
    old, new = ({"a": turned(0.7, lost, 0)} for lost in (0, 1))
    verdict = judge(measured(correct=old), measured(correct=new), Settings())
    assert verdict.status == "changed"
    assert "lost 1, gained 0 of 2000, -0.05 points; though machine and versions are the same" in message(verdict)


def test_wrong_answers_that_became_other_wrong_ones_are_a_change() -> None:
    now = measured()
    now.outcomes["a"]["predictions"] = "another"
    verdict = judge(measured(), now, Settings())
    assert [(f.kind, f.task) for f in verdict.findings] == [("changed", "a")]
    assert "other wrong ones" in verdict.findings[0].text


@pytest.mark.parametrize("count", [0, 2])
def test_rounding_may_turn_a_few_on_another_machine(count: int) -> None:
    old, new = ({"a": turned(0.7, lost, lost)} for lost in (0, count))
    assert (
        judge(measured(correct=old), measured(correct=new, machine="other"), Settings(), cases=60).status == "as before"
    )


def test_what_rounding_cannot_turn_fails_on_another_machine() -> None:
    old, new = ({"a": turned(0.7, lost, lost)} for lost in (0, 15))
    verdict = judge(measured(correct=old), measured(correct=new, machine="other"), Settings(), cases=60)
    assert verdict.status == "changed"
    assert "machine: m → other" in verdict.changes


@given(n=st.integers(1, 3000), share=st.floats(0, 0.05), tail=st.floats(1e-9, 0.1))
@settings(max_examples=60, deadline=None)
def test_the_bound_of_rounding_is_the_smallest(n: int, share: float, tail: float) -> None:
    bound = rounding_bound(n, share, tail)
    assert binom.sf(bound, n, share) <= tail * (1 + 1e-9)
    assert bound == 0 or binom.sf(bound - 1, n, share) > tail * (1 - 1e-9)


def test_a_significant_loss_fails_with_figures() -> None:
    old, new = {"a": turned(0.7, 0, 0)}, {"a": turned(0.7, 90, 10)}
    verdict = judge(
        measured(correct=old, deterministic=False), measured(correct=new, deterministic=False), Settings(), cases=60
    )
    assert verdict.status == "worse"
    text = message(verdict)
    assert "70.00 → 66.00 %, -4.00 [" in text
    assert "lost 90, gained 10" in text
    assert verdict.differences == {"a": pytest.approx(-0.04), "mean": pytest.approx(-0.04)}


def test_a_loss_that_may_be_chance_does_not_fail() -> None:
    old, new = {"a": turned(0.7, 0, 0)}, {"a": turned(0.7, 60, 40)}
    assert not judge(
        measured(correct=old, deterministic=False), measured(correct=new, deterministic=False), Settings(), cases=60
    ).fails


def test_the_more_cases_are_judged_the_surer_a_loss_must_be() -> None:
    old, new = ({"a": v} for v in (turned(0.7, 0, 0), turned(0.7, 36, 12)))
    both = [measured(correct=correct, deterministic=False) for correct in (old, new)]
    assert judge(*both, Settings(), cases=1).status == "worse"
    assert judge(*both, Settings(), cases=60).status == "as before"


def test_a_tolerance_fails_whatever_the_test_says() -> None:
    old, new = ({"a": right(40, share)} for share in (0.9, 0.8))
    verdict = judge(
        measured(correct=old, deterministic=False), measured(correct=new, deterministic=False), Settings(), cases=60
    )
    assert verdict.status == "worse"
    assert "beyond 5" in message(verdict)


def test_better_fails_nothing_where_change_is_allowed() -> None:
    old, new = {"a": turned(0.7, 0, 0)}, {"a": turned(0.7, 10, 120)}
    verdict = judge(measured(correct=old, deterministic=False), measured(correct=new, deterministic=False), Settings())
    assert (verdict.status, verdict.fails) == ("better", False)


def test_other_examples_are_not_compared() -> None:
    verdict = judge(measured(), measured(data={"a": "other", "b": "d"}), Settings())
    assert verdict.status == "incomparable"
    assert verdict.diagnosis.startswith("the data of a")
    assert set(verdict.differences) == {"b", "mean"}


def test_a_task_that_is_missing_is_named() -> None:
    correct = {"a": right(400, 0.75)}
    verdict = judge(measured(), measured(correct=correct), Settings())
    assert [(f.kind, f.task) for f in verdict.findings] == [("incomparable", "b")]


def test_what_was_not_measured_is_not_as_before() -> None:
    fewer = measured(correct={"a": right(40, 0.75), "b": right(300, 0.5)})
    assert "40 examples, the baseline has 400" in message(judge(measured(), fewer, Settings()))
    bare = dataclasses.replace(measured(), reference_outcomes={})
    assert judge(measured(), bare, Settings()).status == "incomparable"
    restless = dataclasses.replace(measured(), deterministic=False)
    assert "deterministic: True → False" in judge(measured(), restless, Settings()).changes


def test_no_task_in_common() -> None:
    verdict = judge(measured(), measured(correct={"z": right(10, 0.5)}), Settings())
    assert verdict.status == "incomparable"


@pytest.mark.parametrize(
    ("costs", "status"),
    [
        ({"fusion_ratio": 190.0, "fusion_seconds": 5.0, "fusion_memory_mb": 50.0}, "as before"),
        ({"fusion_ratio": 210.0, "fusion_seconds": 5.0, "fusion_memory_mb": 50.0}, "costlier"),
        ({"fusion_ratio": 900.0, "fusion_seconds": 0.1, "fusion_memory_mb": 50.0}, "as before"),
        ({"fusion_ratio": 100.0, "fusion_seconds": 1.0, "fusion_memory_mb": 202.0}, "as before"),
        ({"fusion_ratio": 100.0, "fusion_seconds": 1.0, "fusion_memory_mb": 204.0}, "costlier"),
        ({}, "as before"),
    ],
)
def test_costs(costs: dict[str, float], status: str) -> None:
    now = dataclasses.replace(measured(), costs=costs)
    assert judge(measured(), now, Settings()).status == status


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base": {"a": right(400, 0.1), "b": right(300, 0.1)}}, "how pictures reach the model"),
        ({"base": {"a": right(400, 0.3), "b": right(300, 0.1)}}, "prompts, labels or pictures of b"),
        ({"experts": {"a": right(400, 0.2), "b": right(300, 0.9)}}, "the experts of a"),
        ({"config": {"algorithm": {"scaling": 0.33}}}, "the options: algorithm.scaling"),
        ({}, "the method ties"),
    ],
)
@pytest.mark.parametrize("machine", ["m", "other"])
def test_where_to_look(options, words: str, machine: str) -> None:
    worse = {"a": right(400, 0.5), "b": right(300, 0.5)}
    verdict = judge(measured(), measured(correct=worse, machine=machine, **options), Settings())
    assert verdict.status == "worse"
    assert words in verdict.diagnosis


def test_what_changed_since_is_said() -> None:
    worse = {"a": right(400, 0.5), "b": right(300, 0.5)}
    now = measured(correct=worse, config={"algorithm": {"scaling": 0.33}}, commit="beef01+")
    now = dataclasses.replace(now, versions={"torch": "2.15"})
    text = message(judge(measured(), now, Settings()))
    for line in (
        "algorithm.scaling: 0.3 → 0.33",
        "torch 2.14 → 2.15",
        "git log --oneline c0ffee..beef01",
        "not committed",
    ):
        assert line in text
    assert 'baseline accept "ties-p-t" --because' in text


def test_a_verdict_crosses_processes() -> None:
    verdict = judge(measured(), measured(data={"a": "other", "b": "d"}), Settings())
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_what_is_too_little_on_each_task_shows_over_all() -> None:
    old, new = ({f"t{i}": turned(0.7, lost, lost) for i in range(8)} for lost in (0, 2))
    verdict = judge(measured(correct=old), measured(correct=new, machine="other"), Settings(), cases=60)
    assert [(f.kind, f.task) for f in verdict.findings] == [("changed", "all tasks")]
    assert "32 of 16000 turned right or wrong" in verdict.findings[0].text


@pytest.mark.parametrize("machine", ["m", "other"])
def test_an_expert_that_moved_fails_a_case_that_did_not(machine: str) -> None:
    experts = {"a": right(400, 0.2), "b": right(300, 0.9)}
    verdict = judge(measured(), measured(experts=experts, machine=machine), Settings())
    assert verdict.status == "changed"
    assert verdict.findings[0].text == "the expert model moved, whatever the method: a"
