from __future__ import annotations

import dataclasses

from fusion_bench.metrics.paired import paired_difference_interval
from fusion_bench.report.page.groups import grouped
from fusion_bench.report.page.history import history_of
from fusion_bench.report.page.outcomes import detailed, read_outcomes
from tests.report.page.made_runs import World, made_run, nights


def _history(runs):
    (group,), _ = grouped(runs)
    return history_of(group, read_outcomes(group, detailed(group))[0])


def test_a_planted_change_is_found_where_it_is_and_nowhere_else(runs):
    found = _history(runs)
    (change,) = found["changes"]
    assert change["label"] == "iso_c"
    assert change["difference"] < 0
    by_id = {run.run_id: run for run in runs}
    assert by_id[change["since"]["run"]].started.day + 1 == by_id[change["until"]["run"]].started.day == 9
    assert [task["task"] for task in change["tasks"]] == ["letters"]
    assert change["versions"] == ["torch 2.9.0 → 2.9.1"]


def test_the_interval_is_that_of_metrics_at_a_level_for_all_comparisons(runs):
    found = _history(runs)
    assert found["comparisons"] == 6 * 6
    (change,) = found["changes"]
    by_id = {run.run_id: run for run in runs}
    now, then = (by_id[change[side]["run"]] for side in ("until", "since"))
    clusters = {"letters": now.said["letters"].cluster}
    expected = paired_difference_interval(now.outcomes(), then.outcomes(), level=1 - 0.05 / 36, clusters=clusters)
    assert (change["difference"], *change["interval"]) == expected


def test_a_change_back_is_a_change_too_and_a_lasting_one_is_told_once(world):
    usual, hurt = world.predictions(0.6), world.predictions(0.6, harm={"mnist": 0.3})
    series = [usual, usual, hurt, hurt, hurt, usual]
    found = _history([made_run("a", said, night=night) for night, said in enumerate(series)])
    assert [change["difference"] > 0 for change in found["changes"]] == [True, False]
    assert [point[6] for point in found["series"][0]["points"]] == [False, True, False, True, True, False]


def test_a_slow_decline_is_seen_against_the_night_it_began(world):
    """No night differs from the one before by enough; together they do."""
    series = [world.predictions(0.6, harm={"mnist": 0.01 * night}) for night in range(12)]
    for night, said in enumerate(series[1:]):
        now, then = ({task: p.correct for task, p in each.items()} for each in (said, series[night]))
        _, low, high = paired_difference_interval(
            now, then, level=1 - 0.05 / 11, clusters={"letters": said["letters"].cluster}
        )
        assert low <= 0 <= high
    assert _history([made_run("a", said, night=night) for night, said in enumerate(series)])["changes"]


def test_methods_with_chance_in_them_raise_no_alarm():
    """Six nights of two methods that are random, nothing changed: alarms in at most 5 of 100 reports."""
    alarms = 0
    for trial in range(60):
        made = nights({"dare_a": 0.6, "dare_b": 0.5}, 6, world=World(size=80, seed=trial))
        alarms += bool(_history(made)["changes"])
    assert alarms <= 6  # 3 expected at the nominal level; more than 6 has a probability of 3 %


def test_runs_without_outcomes_stay_in_the_line_and_out_of_the_comparison(world):
    nightly = [made_run("a", world.predictions(0.6), night=night) for night in range(3)]
    lost = nightly[1]
    (group,), _ = grouped(nightly)
    outcomes, _ = read_outcomes(group, [])
    del outcomes.correct[lost.run_id]
    found = history_of(group, outcomes)
    assert found["changes"] == []
    assert found["series"][0]["points"][1][2:4] == lost.result["interval"]


def test_a_case_that_ran_once_has_no_history(world):
    assert _history([made_run("a", world.predictions(0.5)), made_run("b", world.predictions(0.5))]) is None


def test_a_run_that_does_not_know_its_versions(world):
    nightly = [made_run("a", world.predictions(skill), night=night) for night, skill in enumerate((0.8, 0.3))]
    nightly[0] = dataclasses.replace(nightly[0], tags={**nightly[0].tags, "versions": "{"})
    (change,) = _history(nightly)["changes"]
    assert change["versions"] == ["python – → 3.11.7", "torch – → 2.9.0"]
