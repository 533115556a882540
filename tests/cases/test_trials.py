"""Trials against a slow oracle: each fused, searched and evaluated by itself, from the public functions alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_bench import load_algorithm
from fusion_bench.cases import Case, Session
from fusion_bench.cases.prepare import prepare
from fusion_bench.cases.trial_files import write_trials
from fusion_bench.cases.trials import Finished, Trials
from fusion_bench.datasets import corruption
from fusion_bench.modelpools import restricted
from fusion_bench.modelpools.embedded_clip import EmbeddedClip
from fusion_bench.taskpools.evaluate import evaluate
from tests.helpers.four_tasks import TASKS, write_four_tasks, write_protocol_configs

GRID = [0.1, 0.05, 0.07, -0.6]  # close calls, so that few examples choose differently
POOLS: dict[str, dict] = {
    "plain": {},
    "unseen": {"protocol": {"type": "unseen", "unseen": ["dots", "rings"]}},
    "growing": {"protocol": {"type": "growing", "subsets": 3, "seed": 1}},
    "few_shot": {"protocol": {"type": "few_shot", "shots": [1, 3], "draws": 3, "seed": 5}},
    "sensitivity": {"protocol": {"type": "sensitivity"}},
    "corrupted": {"corruptions": {"names": ["fog", "pixelate"], "severities": [1, 5]}},
}
needs_library = pytest.mark.skipif(corruption.unavailable() is not None, reason=str(corruption.unavailable()))
EVERY = [pytest.param(n, marks=needs_library) if n == "corrupted" else n for n in POOLS]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    assets = write_four_tasks(tmp_path_factory.mktemp("four"))
    folder = write_protocol_configs(tmp_path_factory.mktemp("config"), assets, POOLS)
    with Session(config_dir=folder, tracking_uri="") as opened:
        yield opened


def case_of(pool: str, algorithm: str = "task_arithmetic", *overrides: str) -> Case:
    grid = () if algorithm in ("simple_average", "simple_ensemble") else (f"++algorithm.search={{scaling:{GRID}}}",)
    return Case(algorithm, "four", pool, (*grid, *overrides))


def run(session: Session, case: Case) -> tuple[Any, Finished]:
    """What ``run_case`` does with a prepared case."""
    prepared = prepare(case, session)
    bound, trials = prepared.bound, Trials(prepared)
    _, experts = session.references(case)
    algorithm, search = trials.search() if prepared.grid else (prepared.algorithm, None)
    predictions = evaluate(algorithm.run(bound.modelpool), bound.adapters, cache=bound.cache)
    return prepared, trials.finish(predictions, search, {task: p.value for task, p in experts.items()})


@pytest.mark.parametrize("pool", EVERY)
@pytest.mark.parametrize("algorithm", ["task_arithmetic", "simple_average", "ties", "simple_ensemble"])
def test_every_trial_is_what_it_is_alone(session: Session, pool: str, algorithm: str) -> None:
    prepared, finished = run(session, case_of(pool, algorithm))
    bound = prepared.bound
    assert [outcome.trial for outcome in finished.outcomes] == list(bound.trials)
    for outcome in finished.outcomes:
        trial = outcome.trial
        models = restricted(bound.modelpool, trial.experts)
        chosen: dict[str, float] = {}
        if prepared.grid and trial.chosen_on:
            scores = []
            for value in GRID:
                model = load_algorithm(algorithm, scaling=value).run(models)
                found = evaluate(model, bound.adapters, split="validation", tasks=trial.chosen_on)
                rows = {t: trial.examples(t, found[t].label) for t in trial.chosen_on}
                scores.append(np.mean([found[t].correct[rows[t]].mean() for t in trial.chosen_on]))
            chosen = {"scaling": GRID[int(np.argmax(scores))]}  # the first of equals
            assert outcome.examples == sum(map(len, rows.values()))
        assert outcome.values == chosen
        model = load_algorithm(algorithm, **chosen).run(models)
        alone = evaluate(model, bound.adapters, split=trial.split, tasks=trial.tasks)
        assert outcome.accuracy == {task: p.value for task, p in alone.items()}
        if outcome is not finished.outcomes[0]:
            for task, p in finished.predictions[trial.name].items():
                assert np.array_equal(p.prediction, alone[task].prediction)


@pytest.mark.parametrize("pool", ["growing", "few_shot", "sensitivity"])
def test_trials_really_differ(session: Session, pool: str) -> None:
    """Else the oracle above would prove little: several values are chosen, and several accuracies found."""
    _, finished = run(session, case_of(pool))
    assert len({outcome.values.get("scaling") for outcome in finished.outcomes}) > 1
    assert len({tuple(outcome.accuracy.values()) for outcome in finished.outcomes}) > 1


def test_the_main_trial_of_a_protocol_of_all_experts_is_the_plain_case(session: Session) -> None:
    plain = run(session, case_of("plain"))[1].outcomes[0]
    for pool in ("growing", "few_shot", "sensitivity"):
        main = run(session, case_of(pool))[1].outcomes[0]
        assert (main.values, main.accuracy, main.examples) == (plain.values, plain.accuracy, plain.examples)


def test_the_plain_protocol_adds_nothing(session: Session) -> None:
    _, finished = run(session, case_of("plain"))
    assert finished.metrics == {}
    assert finished.to_list() == []
    assert finished.predictions == {}


@pytest.mark.parametrize("pool", EVERY)
def test_a_case_repeats_to_the_last_digit(session: Session, pool: str) -> None:
    first, second = (run(session, case_of(pool))[1] for _ in range(2))
    assert first.to_list() == second.to_list()
    assert first.metrics == second.metrics
    assert first.table().equals(second.table())


def test_every_fusion_is_made_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets and left-out tasks choose among the same few models: none is evaluated twice on the same examples."""
    from fusion_bench.cases import trials

    seen: list[tuple] = []

    def counted(model: Any, adapters: Any, **options: Any) -> Any:
        weights = tuple(float(p.detach().sum()) for p in model.parameters())
        seen.extend((weights, options["split"], task) for task in options["tasks"])
        return evaluate(model, adapters, **options)

    monkeypatch.setattr(trials, "evaluate", counted)
    for pool in ("few_shot", "sensitivity"):
        seen.clear()
        run(session, case_of(pool))
        assert len(seen) == len(set(seen))
        assert sum(split == "validation" for _, split, _ in seen) == len(GRID) * len(TASKS)


def test_unseen_experts_are_never_read(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool raises when they are, whoever asks: the algorithm, the search, the reference rows, the evaluation."""
    hidden = {"dots", "rings", "multitask"}

    def guarded(method: Any) -> Any:
        def call(self: Any, name: str) -> Any:
            assert name not in hidden, f"{method.__name__}({name!r}) was called"
            return method(self, name)

        return call

    monkeypatch.setattr(EmbeddedClip, "state_dict", guarded(EmbeddedClip.state_dict))
    monkeypatch.setattr(EmbeddedClip, "model", guarded(EmbeddedClip.model))
    for algorithm in ("task_arithmetic", "ties", "simple_average", "simple_ensemble"):
        fresh = Session(config_dir=session.config_dir, tracking_uri="")
        prepared, finished = run(fresh, case_of("unseen", algorithm))
        assert set(finished.outcomes[0].accuracy) == set(TASKS)
        assert prepared.bound.modelpool.expert_names == ("circles", "stripes")
        assert set(finished.outcomes[0].normalized) == {"circles", "stripes"}
    with pytest.raises(AssertionError, match="was called"):  # the guard works
        EmbeddedClip.state_dict(session.modelpool(case_of("plain")), "dots")


def test_unseen_validation_examples_are_never_looked_at(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_bench.taskpools.zero_shot import ImageTask

    opened: list[tuple[str, str]] = []
    original = ImageTask.labels
    monkeypatch.setattr(
        ImageTask, "labels", lambda self, split: opened.append((self.task, split)) or original(self, split)
    )
    run(Session(config_dir=session.config_dir, tracking_uri=""), case_of("unseen"))
    assert {task for task, split in opened if split == "validation"} == {"circles", "stripes"}


@needs_library
def test_means_of_a_corrupted_pool_are_over_what_their_names_say(session: Session) -> None:
    prepared, finished = run(session, case_of("corrupted", "simple_average"))
    bound = prepared.bound
    found = evaluate(prepared.algorithm.run(bound.modelpool), bound.adapters)
    clean = evaluate(prepared.algorithm.run(bound.modelpool), bound.adapters, split="clean")

    def mean(wanted: Any) -> float:
        picked = {t: [wanted(c) for c in bound.adapters[t].conditions("test")] for t in TASKS}
        return float(np.mean([found[t].correct[picked[t]].mean() for t in TASKS]))

    assert finished.metrics == pytest.approx({
        "accuracy/clean_mean": np.mean([p.value for p in clean.values()]),
        "accuracy/fog_mean": mean(lambda c: c.startswith("fog/")),
        "accuracy/pixelate_mean": mean(lambda c: c.startswith("pixelate/")),
        "accuracy/severity_1_mean": mean(lambda c: c.endswith("/1")),
        "accuracy/severity_5_mean": mean(lambda c: c.endswith("/5")),
    })  # fmt: skip
    assert prepared.config["data"]["corruptions"]["libraries"] == corruption.versions()


def test_protocols_and_their_fields_are_in_the_fingerprint(session: Session) -> None:
    marks = [
        prepare(case_of(pool, "simple_average", *more), session).fingerprint
        for pool, more in [
            ("plain", ()),
            ("growing", ()),
            ("growing", ("taskpool.protocol.seed=2",)),
            ("few_shot", ()),
            ("unseen", ()),
        ]
    ]
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("pool", EVERY[1:])
def test_what_a_case_leaves_in_its_run(session: Session, pool: str, tmp_path: Path) -> None:
    import json

    import pandas as pd

    _, finished = run(session, case_of(pool))
    write_trials(finished, tmp_path, "a case")
    assert (tmp_path / "protocol.png").stat().st_size > 4000
    table = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(table.columns) == ["trial", "task", "index", "label", "prediction"]
    correct = (table.label == table.prediction).groupby([table.trial, table.task]).mean()
    content = json.loads(json.dumps(finished.to_list()))
    assert [trial["name"] for trial in content] == [outcome.trial.name for outcome in finished.outcomes]
    for trial in content[1:]:
        for task, accuracy in trial["accuracy"].items():
            assert correct[trial["name"], task] == pytest.approx(accuracy)


def test_a_plain_case_leaves_no_file(session: Session, tmp_path: Path) -> None:
    write_trials(run(session, case_of("plain"))[1], tmp_path, "a case")
    assert list(tmp_path.iterdir()) == []
