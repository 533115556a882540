"""What the gate sees: examples of one source are counted together, and every trial of a protocol is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.metrics.sign_flip import sign_flip_test
from fusion_bench.regression import Settings, from_result, judge, message
from fusion_bench.regression.baseline import read, sources_of, write
from tests.helpers.results import make_result, right

SOURCES = np.arange(1000) // 25


def measured(**options):
    return from_result(make_result(**options), date="2026-11-25")


def flipped(rng: np.random.Generator) -> np.ndarray:
    """A/A with chance that comes in sources: a third of them gains or loses up to 15 of its 25 examples."""
    found = right(1000, 0.5)
    for source in rng.choice(40, size=12, replace=False):
        found[np.flatnonzero(source == SOURCES)[:15]] = rng.random() < 0.5
    return found


def test_chance_that_comes_in_sources_trips_a_gate_that_counts_singly_and_not_this_one() -> None:
    rng = np.random.default_rng(0)
    settings = Settings(level=0.05, task_tolerance=0.5, mean_tolerance=0.5)
    old, alarms = measured(correct={"a": right(1000, 0.5)}, deterministic=False), {"singly": 0, "together": 0}
    for _ in range(300):
        now = measured(correct={"a": flipped(rng)}, deterministic=False)
        alarms["singly"] += judge(old, now, settings).fails
        alarms["together"] += judge(old, now, settings, sources={"": {"a": SOURCES}}).fails
    assert alarms["together"] <= 0.05 * 300
    assert alarms["singly"] > 0.2 * 300


def test_a_loss_in_most_sources_is_caught_with_its_exact_p_value() -> None:
    old, new = {"a": right(1000, 1.0), "b": right(300, 0.5)}, {"a": SOURCES >= 12, "b": right(300, 0.5)}
    sources = {"": {"a": SOURCES, "b": np.arange(300)}}
    verdict = judge(
        measured(correct=old, deterministic=False),
        measured(correct=new, deterministic=False),
        Settings(),
        sources=sources,
    )
    change = {task: new[task].astype(float) - old[task] for task in old}
    p = sign_flip_test({"a": change["a"]}, clusters={"a": SOURCES}, alternative="less")
    assert p == pytest.approx(2**-12)
    assert verdict.status == "worse"
    finding = next(f for f in verdict.findings if f.task == "a")
    assert f"lost 300, gained 0 (of 40 sources), p = {3 * p:.2g} corrected" in finding.text


def test_a_deterministic_case_may_change_nothing_whatever_it_comes_in() -> None:
    now = right(1000, 0.5)
    now[0] = False
    old, new = measured(correct={"a": right(1000, 0.5)}), measured(correct={"a": now})
    assert judge(old, new, Settings(), sources={"": {"a": SOURCES}}).status == "changed"


TRIALS = {"2_tasks": {"a": right(400, 0.8)}, "clean": {"a": right(400, 0.9), "b": right(300, 0.7)}}


def test_a_trial_that_changed_fails_a_case_whose_main_one_did_not() -> None:
    other = {**TRIALS, "clean": {**TRIALS["clean"], "b": right(300, 0.69)}}
    verdict = judge(measured(trials=TRIALS), measured(trials=other), Settings())
    assert [(f.kind, f.task) for f in verdict.findings] == [("changed", "clean/b")]
    assert "clean/b" in message(verdict)
    assert verdict.differences["clean/b"] == pytest.approx(-0.01)
    assert verdict.differences["mean"] == 0
    assert judge(measured(trials=TRIALS), measured(trials=TRIALS), Settings()).findings == ()


def test_half_of_the_level_is_for_the_main_trial_and_the_others_share_the_other_half() -> None:
    """A loss that is significant at a half and not at a quarter of the level, on the main trial and on another."""
    before, after = right(2000, 0.7), right(2000, 0.7)
    after[:15] = False
    after[1400:1404] = True
    p = 2 * sign_flip_test({"t": after.astype(float) - before}, alternative="less")  # of two lines, task and mean
    settings = Settings(level=3 * p)
    main, same = {"a": before}, {f"t{i}": {"a": before} for i in range(2)}
    options = {"deterministic": False}
    old = measured(correct=main, trials=same, **options)
    lost_main = measured(correct={"a": after}, trials=same, **options)
    lost_other = measured(correct=main, trials={**same, "t1": {"a": after}}, **options)
    assert judge(old, lost_main, settings).status == "worse"
    assert judge(old, lost_other, settings).status == "as before"
    assert judge(old, lost_other, Settings(level=min(0.99, 5 * p))).status == "worse"


def test_a_baseline_without_trials_is_judged_on_the_main_one_and_says_so() -> None:
    verdict = judge(measured(), measured(trials=TRIALS), Settings())
    assert (verdict.status, verdict.fails) == ("as before", False)
    assert [(f.kind, f.text) for f in verdict.findings] == [
        ("unjudged", "its baseline holds the main trial alone: 2 others were not judged")
    ]


def test_a_trial_that_is_missing_or_of_other_examples_is_named() -> None:
    fewer = {"clean": TRIALS["clean"]}
    verdict = judge(measured(trials=TRIALS), measured(trials=fewer), Settings())
    assert [(f.kind, f.task) for f in verdict.findings] == [("incomparable", "2_tasks")]
    other = make_result(trials=TRIALS)
    other["trials"][2]["data"]["a"] = "others"
    verdict = judge(measured(trials=TRIALS), from_result(other, date="2026-11-26"), Settings())
    assert [(f.kind, f.task) for f in verdict.findings] == [("incomparable", "clean/a")]
    assert "the trial 2_tasks is new" in judge(measured(trials=fewer), measured(trials=TRIALS), Settings()).changes


def test_trials_are_kept_in_the_file_without_what_they_share_with_the_main_one(tmp_path: Path) -> None:
    result = make_result(trials=TRIALS)
    result["trials"][1]["data"] = {"a": result["data"]["a"]}
    path = write(tmp_path, from_result(result, date="2026-11-25"))
    content = json.loads(path.read_text())["trials"]
    assert set(content["2_tasks"]) == {"outcomes"}
    assert content["clean"]["data"] == {"a": "d clean", "b": "d clean"}
    assert read(path) == from_result(result, date="2026-11-25")
    assert read(path).data_of("2_tasks", "a") == result["data"]["a"]


def test_a_baseline_of_the_schema_before_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, measured())
    content = json.loads(path.read_text())
    older = {key: value for key, value in content.items() if key not in ("trials", "plugins")} | {"schema": 1}
    path.write_text(json.dumps(older))
    assert judge(read(path), measured(), Settings()).status == "as before"


def test_sources_of_a_result_by_trial() -> None:
    result = make_result({"a": right(1000, 0.5)}, clusters={"a": SOURCES}, trials={"clean": {"a": right(50, 0.5)}})
    assert sources_of(result)[""]["a"].tolist() == SOURCES.tolist()
    assert "clean" not in sources_of(result)
