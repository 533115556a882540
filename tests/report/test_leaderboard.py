from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fusion_bench.families import row_name
from fusion_bench.metrics.seeds import seeded_mean
from fusion_bench.report.export import to_markdown
from fusion_bench.report.leaderboard import leaderboards
from tests.helpers.results import make_result as one_result
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


def drawn(accuracy: float, seed: int, n: int = 400) -> dict[str, np.ndarray]:
    """Outcomes in which the hard examples are hard for all, and the seed decides some."""
    rng = np.random.default_rng(seed)
    return {task: np.arange(n) / n + 0.05 * rng.standard_normal(n) < accuracy for task in ("a", "b")}


def test_seeds_of_a_method_are_one_row_with_the_interval_of_seeds_and_examples():
    runs = [drawn(0.6, seed) for seed in range(3)]
    results = [one_result(correct, label="dare", seed=seed) for seed, correct in enumerate(runs)]
    (board,) = leaderboards([one_result(drawn(0.9, 7)), *results])
    ties, dare = [row for row in board.rows if not row.is_reference]
    expected = seeded_mean(runs)
    assert (ties.name, ties.seeds, dare.name, dare.seeds, dare.rank) == ("ties", 1, "dare", 3, 2)
    assert dare.title == "dare (3 seeds)"
    assert dare.interval == (expected.low, expected.high)
    assert dare.mean == pytest.approx(expected.mean)
    assert dict(dare.accuracy) == pytest.approx(dict(expected.per_task))
    assert (ties.letters, dare.letters) == ("a", "b")
    assert "dare (3 seeds)" in to_markdown(board)


def test_runs_of_other_code_are_no_further_seeds():
    results = [one_result(drawn(0.6, seed), label="dare", seed=seed) for seed in range(3)]
    results[2]["seedless"] = "other code"
    (board,) = leaderboards(results)
    assert {row.name: row.seeds for row in board.rows if not row.is_reference} == {"dare": 2, "dare[seed=2]": 1}


def test_letters_count_examples_of_one_source_together():
    """A loss of two sources out of forty: of twenty examples each it looks sure, of two sources it is not."""
    source = np.arange(800) // 20
    better, worse = np.ones(800, bool), source >= 2
    both = [("better", better), ("worse", worse)]
    (singly,) = leaderboards([one_result({"a": v}, label=name) for name, v in both])
    (together,) = leaderboards([one_result({"a": v}, label=name, clusters={"a": source}) for name, v in both])
    assert {row.name: row.letters for row in singly.rows if not row.is_reference} == {"better": "a", "worse": "b"}
    assert {row.letters for row in together.rows if not row.is_reference} == {"a"}
