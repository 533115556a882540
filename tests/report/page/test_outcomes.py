from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.intervals import mean_accuracy_interval
from fusion_bench.report.page.groups import grouped
from fusion_bench.report.page.outcomes import DETAILED, detailed, read_outcomes
from tests.report.page.made_runs import MadeRun, World, made_run


def _outcomes(runs):
    (group,), _ = grouped(runs)
    return read_outcomes(group, detailed(group))


def test_intervals_are_those_of_metrics_and_count_by_source(world):
    run, twin = (made_run("a", world.predictions(0.6), night=night) for night in (0, 1))
    found, notes = _outcomes([run, twin])
    clusters = {"letters": run.said["letters"].cluster}
    assert found.interval(run.run_id) == mean_accuracy_interval(run.outcomes(), clusters=clusters)
    assert found.interval(run.run_id) != mean_accuracy_interval(run.outcomes())
    assert found.same(run.run_id, twin.run_id)
    assert not notes


class _Lost(MadeRun):
    def outcomes(self):
        raise FusionBenchError("the file is gone")


class _Broken(MadeRun):
    def outcomes(self):
        raise KeyError("n")


@pytest.mark.parametrize(("kind", "word"), [(_Lost, "the file is gone"), (_Broken, "damaged: KeyError('n')")])
def test_a_run_whose_outcomes_are_lost_is_named_and_harms_no_other(world, kind, word):
    good = made_run("good", world.predictions(0.6))
    lost = kind(
        **{
            field.name: getattr(made_run("lost", world.predictions(0.5)), field.name)
            for field in dataclasses.fields(MadeRun)
        }
    )
    found, notes = _outcomes([good, lost])
    assert set(found.correct) == {good.run_id}
    assert found.interval(lost.run_id) is None
    assert len(notes) == 1
    assert word in notes[0]
    assert lost.run_id[:8] in notes[0]


def test_runs_with_another_number_of_examples_are_not_compared():
    one, two = (
        made_run("one", World(size=50).predictions(0.5), night=1),
        made_run("two", World(size=60).predictions(0.5)),
    )
    found, (note,) = _outcomes([one, two])
    assert set(found.correct) == {one.run_id}
    assert "other numbers of examples of mnist" in note


def test_predictions_that_contradict_the_report_are_not_shown(world):
    run, liar = made_run("a", world.predictions(0.5)), made_run("b", world.predictions(0.6))
    liar.said = world.predictions(0.2)
    liar.outcomes = lambda: {task: p.correct for task, p in world.predictions(0.6).items()}  # type: ignore[method-assign]
    found, notes = _outcomes([run, liar])
    assert set(found.predictions) == {run.run_id}
    assert any("disagree" in note for note in notes)


def test_examples_in_another_order_are_not_shown_together(world):
    run, turned = made_run("a", world.predictions(0.5), night=1), made_run("b", world.predictions(0.5))
    turned.said = {
        task: dataclasses.replace(p, **{name: getattr(p, name)[::-1] for name in ("index", "label", "prediction")})
        for task, p in turned.said.items()
    }
    found, notes = _outcomes([run, turned])
    assert len(found.predictions) == 1
    assert any("another order" in note for note in notes)


def test_the_bounds_and_the_best_are_read_in_detail():
    said = World(size=4).predictions(0.5)
    runs = [made_run(f"m{i}", said) for i in range(DETAILED + 5)]
    for i, run in enumerate(runs):
        run.result["metrics"]["accuracy/mean"] = i / 100
    bound = made_run("pretrained", said, kind="reference")
    bound.result["metrics"]["accuracy/mean"] = 0.0
    (group,), _ = grouped([*runs, bound])
    found = [run.label for run in detailed(group)]
    assert found[0] == "pretrained"
    assert len(found) == DETAILED
    assert found[1:3] == [f"m{DETAILED + 4}", f"m{DETAILED + 3}"]


def test_sources_that_nobody_shares_are_none():
    said = World(size=30).predictions(0.5)
    said["mnist"] = dataclasses.replace(said["mnist"], cluster=np.array([f"own {i}" for i in range(30)]))
    found, _ = _outcomes([made_run("a", said)])
    assert set(found.clusters) == {"letters"}
