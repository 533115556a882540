"""The gate on tasks that are scored by no right and wrong: it sees a drop, and no rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusion_bench.metrics.packing import pack_outcome
from fusion_bench.metrics.scores import spearman_scores
from fusion_bench.regression import Settings, from_result, judge
from fusion_bench.regression.baseline import Baseline
from fusion_bench.regression.diagnosis import turned
from tests.helpers.results import make_result, right

N = 1500
TRUTH = np.random.default_rng(0).integers(0, 26, N) / 5


def said(noise: float, seed: int = 1) -> np.ndarray:
    """What a model writes, with one decimal."""
    return np.round(TRUTH + noise * np.random.default_rng(seed).normal(size=N), 1)


def measured(numbers: np.ndarray, **options: Any) -> Baseline:
    scores = spearman_scores(numbers, TRUTH)
    result = make_result(correct={"a": right(400, 0.75)}, **options)
    result["tasks"].append("stsb")
    result["metrics"] |= {"accuracy/stsb": scores.mean(), "accuracy/mean": (0.75 + scores.mean()) / 2}
    result["outcomes"]["stsb"] = {**pack_outcome(scores), "predictions": str(hash(numbers.tobytes()))}
    result["data"]["stsb"] = "d stsb"
    return from_result(result, date="2026-11-25")


def test_the_same_is_as_before_and_anything_else_is_not_on_one_machine() -> None:
    old = measured(said(1.0))
    assert judge(old, measured(said(1.0)), Settings()).status == "as before"
    other = said(1.0)
    other[3] += 0.1
    found = judge(old, measured(other), Settings())
    assert found.status == "changed"
    assert any(finding.task == "stsb" and "scores of" in finding.text for finding in found.findings)


def test_a_drop_is_named_and_a_gain_fails_nothing_of_a_case_with_chance() -> None:
    old, worse = measured(said(1.0), deterministic=False), measured(said(1.6), deterministic=False)
    found = judge(old, worse, Settings())
    assert found.status == "worse"
    (finding,) = [finding for finding in found.findings if finding.task == "stsb"]
    assert "→" in finding.text
    assert "lost" not in finding.text  # no example is lost or gained
    assert not judge(worse, old, Settings()).fails


@pytest.mark.parametrize("seed", range(5))
def test_rounding_on_another_machine_is_no_change(seed: int) -> None:
    """One number in two thousand turns, to any other."""
    rng = np.random.default_rng(seed)
    old, new = said(1.0), said(1.0)
    new[rng.integers(N)] = rng.integers(0, 51) / 10
    assert judge(measured(old), measured(new, machine="other"), Settings()).status == "as before"
    assert judge(measured(old), measured(said(1.3), machine="other"), Settings()).fails


def test_how_many_turned() -> None:
    scores = spearman_scores(said(1.0), TRUTH)
    other = said(1.0)
    other[:30] = 0.0
    moved = spearman_scores(other, TRUTH)
    assert turned(scores, scores) == 0
    assert 0 < turned(scores, moved) <= 30
    assert turned(np.zeros(4), np.zeros(4)) == 0


def test_a_task_that_is_scored_otherwise_than_it_was() -> None:
    old, new = measured(said(1.0)), measured(said(1.0))
    old.outcomes["stsb"] = {**pack_outcome(TRUTH > 2), "predictions": "x"}
    assert judge(old, new, Settings()).fails
    assert turned(np.array([True, False]), np.array([0.5, 0.2])) == pytest.approx(0.3 / 1.0)
