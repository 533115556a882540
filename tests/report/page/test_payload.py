from __future__ import annotations

import base64
import dataclasses
import json

import numpy as np
import pytest

from fusion_bench.metrics.intervals import accuracy_intervals, mean_accuracy_interval
from fusion_bench.metrics.ranking import rank_runs
from fusion_bench.metrics.seeds import seeded_mean
from fusion_bench.report.page import build_payload, payload
from fusion_bench.report.page.render import percent
from tests.report.page.made_runs import TASKS, World, made_run


@pytest.fixture(scope="module")
def board(runs):
    return build_payload(runs).content["boards"][0]


def _newest(runs):
    found = {}
    for run in sorted(runs, key=lambda run: run.started):
        found[run.label] = run
    return found


def test_rows_hold_the_numbers_of_metrics(board, runs):
    newest = _newest(runs)
    assert {row["name"] for row in board["rows"]} == set(newest)
    clusters = {"letters": newest["ties"].said["letters"].cluster}
    for row in board["rows"]:
        correct = newest[row["name"]].outcomes()
        assert row["mean"] == pytest.approx(np.mean([values.mean() for values in correct.values()]))
        assert tuple(row["interval"]) == mean_accuracy_interval(correct, clusters=clusters)
        expected = accuracy_intervals(correct, clusters=clusters)
        assert [tuple(interval) for interval in row["intervals"]] == [expected[task] for task in TASKS]


def test_letters_and_ranks_are_those_of_the_ranking_of_the_methods(board, runs):
    methods = {name: run for name, run in _newest(runs).items() if not run.is_reference}
    ranking = rank_runs(
        {name: run.outcomes() for name, run in methods.items()},
        clusters={"letters": methods["ties"].said["letters"].cluster},
    )
    for row in board["rows"]:
        if row["reference"]:
            assert (row["letters"], row["ranks"], row["rank"]) == ("", None, None)
        else:
            assert row["letters"] == ranking.letters[row["name"]]
            assert tuple(row["ranks"]) == ranking.rank_ranges[row["name"]]


def test_packed_outcomes_come_back_whole(board, runs):
    newest = _newest(runs)
    for row in board["rows"]:
        for bits, size, task in zip(row["bits"], board["sizes"], TASKS, strict=True):
            unpacked = np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8), count=size).astype(bool)
            np.testing.assert_array_equal(unpacked, newest[row["name"]].outcomes()[task])


def test_the_summary_says_how_many_and_who_is_best(board):
    best = next(row for row in board["rows"] if not row["reference"])
    summary = board["summary"]
    assert "11 methods and 2 bounds on 4 tasks" in summary
    assert f"Best: {best['name']}, {percent(best['mean'])} %" in summary


def test_bounds_that_were_measured_along_with_a_case_have_a_row_and_nothing_to_compare(world):
    runs = [made_run(name, world.predictions(skill)) for name, skill in (("a", 0.5), ("b", 0.6))]
    for run in runs:
        run.result["references"] = {"pretrained": dict.fromkeys(TASKS, 0.25)}
    rows = {row["name"]: row for row in build_payload(runs).content["boards"][0]["rows"]}
    assert rows["pretrained"]["reference"]
    assert rows["pretrained"]["bits"] is None
    assert rows["pretrained"]["run"] is None


def test_boards_of_other_examples_stand_apart_and_say_so(world):
    said = world.predictions(0.5)
    content = build_payload([made_run("a", said), made_run("a", said, data="new", night=3)]).content
    assert len(content["boards"]) == 2
    assert len({board["title"] for board in content["boards"]}) == 2
    assert all("nothing is averaged" in board["split"] for board in content["boards"])


def test_one_run_alone_is_shown_and_says_that_there_is_nothing_to_compare(world):
    (board,) = build_payload([made_run("a", world.predictions(0.5))]).content["boards"]
    assert board["uncompared"]
    assert board["rows"][0]["letters"] == ""


def test_no_run_at_all_is_an_empty_page():
    assert build_payload([], ["run 1: FAILED"]).content["boards"] == []


def test_outcomes_stop_where_the_page_would_grow_too_large(world, monkeypatch):
    monkeypatch.setattr(payload, "BITS", 500)
    runs = [made_run(f"m{i}", world.predictions(0.3 + 0.1 * i)) for i in range(5)]
    found = build_payload(runs)
    kept = [row["name"] for row in found.content["boards"][0]["rows"] if row["bits"]]
    assert kept == ["m4", "m3"]
    assert any("3 runs too many to be compared" in note for note in found.notes)


def test_the_same_runs_in_another_order_give_the_same_content(runs):
    assert json.dumps(build_payload(runs[::-1]).content) == json.dumps(build_payload(runs).content)


def test_runs_are_not_changed(world):
    run = made_run("a", world.predictions(0.5))
    before = json.dumps(run.result)
    build_payload([run, dataclasses.replace(made_run("b", World(size=300).predictions(0.6)))])
    assert json.dumps(run.result) == before


def test_seeds_of_a_method_are_one_row_and_its_runs_stay(world):
    runs = [made_run("dare", world.predictions(0.6, noise=seed), seed=seed, fusion_seconds=seed) for seed in (1, 2, 3)]
    runs.append(made_run("ties", world.predictions(0.8)))
    (board,) = build_payload(runs).content["boards"]
    clusters = {"letters": runs[0].said["letters"].cluster}
    _, dare = board["rows"]
    expected = seeded_mean([run.outcomes() for run in runs[:3]], clusters=clusters)
    assert (dare["name"], dare["rank"], dare["bits"], dare["run"]) == ("dare", 2, None, None)
    assert dare["interval"] == [expected.low, expected.high]
    assert dare["costs"]["fusion"] == 2.0
    assert dare["letters"] == "b"
    assert [member["name"] for member in dare["members"]] == [f"dare[seed={seed}]" for seed in (1, 2, 3)]
    assert [member["at"] for member in dare["members"]] == [2, 3, 4]
    assert [member["run"]["id"] for member in dare["members"]] == [run.run_id for run in runs[:3]]
    assert all(member["bits"] for member in dare["members"])
    assert "2 methods and 0 bounds" in board["summary"]
