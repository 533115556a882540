from __future__ import annotations

import math
from typing import Any

import pytest

from fusion_bench.report.leaderboard import leaderboards
from fusion_bench.report.measures import grid, heading, mean_measures, other_measures, places

METRICS = {
    "accuracy/depth": 0.7,
    "delta1/depth": 0.7,
    "normalized/depth": 1.0,
    "rmse/depth": 0.5,
    "accuracy/cola": 0.8,
    "loss/cola": 0.4,
    "calibration_error/cola": 0.1,
    "matthews/cola": 0.6,
    "delta1/cola": 0.9,  # scores another task, not this one
    "accuracy/mean": 0.75,
    "cost/fusion_seconds": 1.0,
    "accuracy/seen_mean": 0.7,
    "rmse/elsewhere": 9.0,
}
RESULT = {"tasks": ["cola", "depth"], "scored_by": {"depth": "delta1"}, "metrics": METRICS}


def test_what_a_leaderboard_shows_already_is_no_other_measure() -> None:
    assert other_measures(RESULT) == {"matthews/cola": 0.6, "delta1/cola": 0.9, "rmse/depth": 0.5}


def test_what_a_case_logs_is_told_apart_from_what_a_task_measures() -> None:
    """The names that `cases.run.summary` really gives."""
    import numpy as np

    from fusion_bench.cases.run import summary
    from fusion_bench.metrics.predictions import Predictions

    two = np.arange(2)
    shares = Predictions("a", two, two, two, np.ones(2, np.float32), np.zeros(2), extra={"matthews": 0.25})
    none = np.full(2, -1)
    scored = Predictions("b", two, none, none, None, None, score=np.ones(2), metric="delta1", extra={"rmse": 2.0})
    metrics = summary({"a": shares, "b": scored}, {"a": 1.0, "b": 1.0})
    assert {"delta1/b", "loss/a", "normalized/mean"} < set(metrics)
    result = {"tasks": ["a", "b"], "scored_by": {"b": "delta1"}, "metrics": metrics}
    assert other_measures(result) == {"matthews/a": 0.25, "rmse/b": 2.0}


def test_reports_from_before_scores_and_without_measures_have_none() -> None:
    assert other_measures({"tasks": ["a"], "metrics": {"accuracy/a": 0.5, "accuracy/mean": 0.5}}) == {}


def test_of_several_seeds_the_mean_of_what_all_have() -> None:
    other = {**RESULT, "metrics": {**METRICS, "rmse/depth": 1.0, "absolute_error/depth": 3.0}}
    assert mean_measures([RESULT, other])["rmse/depth"] == 0.75
    assert set(mean_measures([other, RESULT])) == set(other_measures(RESULT))


def test_a_leaderboard_keeps_them_by_method() -> None:
    def result(name: str, seed: int | None, rmse: float) -> dict[str, Any]:
        case = {"algorithm": name, "modelpool": "p", "taskpool": "t", "overrides": [], "seed": seed}
        config = {"algorithm": {} if seed is None else {"seed": seed}}
        drawn = "" if seed is None else name
        return {
            **RESULT,
            "metrics": {**METRICS, "rmse/depth": rmse},
            "case": case,
            "kind": "merging",
            "config": config,
            "seedless": drawn,
        }

    (board,) = leaderboards([result("ties", None, 0.25), result("dare", 0, 1.0), result("dare", 1, 2.0)])
    rows = {row.title: row.measures for row in board.rows}
    assert rows["ties"] == {**other_measures(RESULT), "rmse/depth": 0.25}
    assert rows["dare (2 seeds)"] == {**other_measures(RESULT), "rmse/depth": 1.5}


@pytest.mark.parametrize(
    ("values", "digits"),
    [([30.4], 2), ([0.1], 4), ([0.0999], 5), ([9.999], 3), ([12345.0], 0), ([0.0], 4), ([1e-12], 6), ([-30.4, 0.1], 2)],
)
def test_four_digits_of_the_largest(values: list[float], digits: int) -> None:
    assert places(values) == digits


def test_numbers_that_are_none_decide_no_digits() -> None:
    assert places([math.nan, math.inf, 0.5]) == 4


def test_a_grid_has_a_column_for_each_measure_of_any_method_and_a_row_for_each_method_that_has_one() -> None:
    columns, rows = grid([("a", {"rmse/depth": 12.0}), ("b", {}), ("c", {"rmse/depth": 0.5, "own/x": 0.25})])
    assert columns == [heading("rmse/depth"), heading("own/x")]
    assert rows == [["a", "12.00", ""], ["c", "0.50", "0.2500"]]
    assert grid([("a", {})]) == ([], [])


def test_a_filter_of_the_harness_does_not_hide_a_direction() -> None:
    assert heading("exact_match.flexible-extract/gsm8k").endswith("↑")
    assert heading("exact_match_stderr.flexible-extract/gsm8k").endswith("gsm8k")
