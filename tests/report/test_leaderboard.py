from __future__ import annotations

import json
import math

import pytest

from fusion_bench.report.leaderboard import leaderboards, row_name
from tests.report.conftest import TASKS, make_result


def test_rows_are_sorted_by_mean_and_reference_rows_have_no_rank(results):
    (board,) = leaderboards(results)
    assert [(row.rank, row.name) for row in board.rows] == [
        (None, "experts"),
        (1, "iso_c"),
        (2, "ties"),
        (3, "dare_task_arithmetic"),
        (4, "simple_average"),
        (None, "pretrained"),
    ]


def test_best_per_column_is_a_method_and_differs_by_task(results):
    (board,) = leaderboards(results)
    iso_c, ties = board.rows[1], board.rows[2]
    assert board.is_best(iso_c, "mean")
    assert board.is_best(iso_c, "mnist")
    assert board.is_best(ties, "quickdraw_animals")  # ties spreads wider, so it wins the last task: 0.82 to 0.78
    assert not any(board.is_best(row, column) for row in board.rows if row.is_reference for column in board.tasks)


def test_equal_values_are_all_best():
    (board,) = leaderboards([make_result("a", "merging", 0.5), make_result("b", "merging", 0.5)])
    assert [board.is_best(row, "mean") for row in board.rows] == [True, True]


def test_a_method_alone_wins_nothing():
    (board,) = leaderboards([make_result("a", "merging", 0.5), make_result("experts", "reference", 0.9)])
    assert not any(board.is_best(row, "mean") for row in board.rows)


def test_pools_have_boards_of_their_own(results):
    other = make_result("ties", "merging", 0.3, modelpool="other")
    first, second = leaderboards([*results, other])
    assert (first.title, second.title) == ("clip_mini/mini8", "other/mini8")
    assert len(first.rows) == len(results)
    assert [row.rank for row in second.rows] == [1]


def test_seconds_are_fusing_and_evaluating(results):
    (board,) = leaderboards(results)
    assert board.rows[0].seconds == pytest.approx(1.75)


def test_a_mean_that_is_no_number_comes_last():
    (board,) = leaderboards([make_result("broken", "merging", math.nan), make_result("ties", "merging", 0.1)])
    assert [row.name for row in board.rows] == ["ties", "broken"]
    json.dumps([row.rank for row in board.rows])


def test_a_task_that_one_case_lacks_keeps_its_column(results):
    short = make_result("ties", "merging", 0.5)
    short["tasks"] = short["tasks"][:3]
    short["metrics"] = {k: v for k, v in short["metrics"].items() if k != "accuracy/icons"}
    (board,) = leaderboards([short, *results])
    assert len(board.tasks) == 8


def test_bounds_are_there_though_they_were_no_cases():
    references = {"pretrained": dict.fromkeys(TASKS, 0.4), "experts": dict.fromkeys(TASKS, 0.8)}
    (board,) = leaderboards([{**make_result("ties", "merging", 0.6), "references": references}])
    assert [(row.name, row.rank, round(row.mean, 6)) for row in board.rows] == [
        ("experts", None, 0.8),
        ("ties", 1, 0.6),
        ("pretrained", None, 0.4),
    ]
    assert board.rows[0].normalized == pytest.approx(1)
    assert board.rows[2].normalized == pytest.approx(0.5)


def test_a_reference_that_was_a_case_is_not_shown_twice(results):
    references = {"pretrained": dict.fromkeys(TASKS, 0.4), "experts": {"mnist": 0.9}}
    (board,) = leaderboards([{**result, "references": references} for result in results[:4]])
    assert [row.name for row in board.rows].count("pretrained") == 1
    assert "experts" not in [row.name for row in board.rows]  # known for one task only: no bound for the mean


def test_overrides_and_seed_tell_rows_apart():
    assert row_name({"algorithm": "ties", "overrides": ["algorithm.density=0.1", "algorithm.scaling=1"]}) == (
        "ties[density=0.1,scaling=1]"
    )


def test_methods_that_cannot_be_told_apart_share_a_letter():
    from tests.helpers.results import make_result, right

    shares = {"best": 0.9, "good": 0.7, "like_it": 0.7, "pretrained": 0.3}
    results = [make_result({"a": right(400, share)}, label=name) for name, share in shares.items()]
    results[-1]["kind"] = "reference"
    (board,) = leaderboards(results)
    letters = {row.name: row.letters for row in board.rows}
    assert letters == {"best": "a", "good": "b", "like_it": "b", "pretrained": "", "experts": ""}
    results[0]["data"] = {"a": "others"}  # no pairs across other examples
    (board,) = leaderboards(results)
    assert {row.letters for row in board.rows} == {""}
