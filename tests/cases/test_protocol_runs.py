"""Protocols through the front door: which cases there are, and what a tracked run of one holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion_bench import registry
from fusion_bench.cases import Case, Session, matrix, run_case
from fusion_bench.datasets import corruption
from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics.packing import pack, unpack
from fusion_bench.regression import Settings, from_result, judge
from fusion_bench.regression.baseline import outcome_of, sources_of
from tests.helpers.four_tasks import TASKS, write_four_tasks, write_protocol_configs

POOLS: dict[str, dict] = {
    "plain": {},
    "unseen": {
        "protocol": {"type": "unseen", "unseen": ["dots", "rings"]},
        "default": False,
        "without": ["experts", "multitask"],
    },
    "growing": {"protocol": {"type": "growing", "subsets": 2}, "default": False},
    "corrupted": {"corruptions": {"names": ["fog"], "severities": [2]}, "needs": ["robustness"], "default": False},
}
needs_library = pytest.mark.skipif(corruption.unavailable() is not None, reason=str(corruption.unavailable()))


@pytest.fixture(scope="module")
def config_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assets = write_four_tasks(tmp_path_factory.mktemp("four"))
    return write_protocol_configs(tmp_path_factory.mktemp("config"), assets, POOLS)


@pytest.fixture(scope="module")
def session(config_dir: Path, tmp_path_factory: pytest.TempPathFactory):
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    with Session(config_dir=config_dir, tracking_uri=uri) as opened:
        yield opened


def test_a_task_pool_that_is_not_run_unasked_runs_when_named(config_dir: Path) -> None:
    unasked = matrix(algorithms=["ties"], modelpools=["four"], config_dir=config_dir)
    assert [case.taskpool for case in unasked] == ["plain"]
    named = matrix(algorithms=["ties"], modelpools=["four"], taskpools=["growing"], config_dir=config_dir)
    assert [case.taskpool for case in named] == ["growing"]
    by_keyword = matrix(algorithms=["ties"], modelpools=["four"], config_dir=config_dir, words="ties and unseen")
    assert [case.taskpool for case in by_keyword] == ["plain", "unseen"]


def test_algorithms_that_would_read_what_is_kept_back_are_no_cases(config_dir: Path) -> None:
    def algorithms(pool: str) -> set[str]:
        return {c.algorithm for c in matrix(modelpools=["four"], taskpools=[pool], config_dir=config_dir)}

    assert algorithms("growing") - algorithms("unseen") == {"experts"}
    with pytest.raises(FusionBenchError, match="experts"):
        matrix(algorithms=["experts"], modelpools=["four"], taskpools=["unseen"], config_dir=config_dir)


def test_a_need_of_the_task_pool_is_one_of_the_case(config_dir: Path) -> None:
    (case,) = matrix(algorithms=["ties"], modelpools=["four"], taskpools=["corrupted"], config_dir=config_dir)
    assert case.needs == ("robustness",)


def test_without_the_library_the_need_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from fusion_bench.pytest_plugin.needs import missing

    assert missing("robustness") == corruption.unavailable()
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    assert "fusion-bench-suite[robustness]" in str(missing("robustness"))


@pytest.mark.parametrize("pool", [p for p in registry.names("taskpool") if p.startswith("mini8_")])
def test_the_shipped_pools_fit_the_embedded_models_and_are_not_run_unasked(pool: str) -> None:
    assert matrix(algorithms=["ties"], taskpools=[pool], modelpools=["clip_mini"])
    assert pool not in {case.taskpool for case in matrix(algorithms=["ties"])}
    plain, config = registry.read_config("taskpool", "mini8"), registry.read_config("taskpool", pool)
    assert {key: config[key] for key in ("type", "path", "tasks")} == {k: plain[k] for k in ("type", "path", "tasks")}


@pytest.mark.parametrize("pool", ["unseen", "growing", pytest.param("corrupted", marks=needs_library)])
def test_a_tracked_run_holds_its_trials(session: Session, pool: str, tmp_path: Path) -> None:
    result = run_case(Case("task_arithmetic", "four", pool, ("++algorithm.search={scaling:[0.05,0.2]}",)), session)
    run = session.store.client.get_run(result.run_id)
    folder = Path(session.store.client.download_artifacts(result.run_id, "", str(tmp_path)))
    report = json.loads((folder / "report.json").read_text())
    assert report["trials"] == result.trials
    main, *others = report["trials"]
    assert result.metrics["accuracy/mean"] == pytest.approx(np.mean([main["accuracy"][t] for t in TASKS]))
    for group in report["groups"]:
        name = f"{group['metric']}/{group['name']}_mean"
        assert run.data.metrics[name] == pytest.approx(np.mean(group["points"]))
    assert run.data.metrics["cost/protocol_seconds"] >= 0
    assert run.data.metrics["cost/examples_seen"] == main["examples"] > 0
    assert (folder / "protocol.png").is_file()
    table = pd.read_parquet(folder / "trials.parquet")
    assert set(table.trial) == {trial["name"] for trial in others}
    if pool == "unseen":
        assert set(report["references"]["experts"]) == {"circles", "stripes"}
        seen = [main["accuracy"][task] for task in ("circles", "stripes")]
        assert run.data.metrics["accuracy/seen_mean"] == pytest.approx(np.mean(seen))
        assert "normalized/mean" not in run.data.metrics
    if pool == "corrupted":
        versions = {k.split("libraries.")[1]: v for k, v in run.data.params.items() if "libraries." in k}
        assert versions == corruption.versions()


def test_the_time_of_the_trials_is_not_the_harness(session: Session) -> None:
    result = run_case(Case("simple_average", "four", "growing"), session)
    costs = {k: v for k, v in result.metrics.items() if k.startswith("cost/")}
    assert costs["cost/protocol_seconds"] > 0
    assert costs["cost/harness_seconds"] >= 0


@pytest.mark.parametrize("pool", ["growing", pytest.param("corrupted", marks=needs_library)])
def test_every_trial_can_be_held_against_a_baseline(session: Session, pool: str) -> None:
    result = json.loads(json.dumps(run_case(Case("simple_average", "four", pool), session).to_dict()))
    baseline = from_result(result, date="2026-11-25")
    others = [trial for trial in result["trials"] if "outcomes" in trial]
    assert list(baseline.trials) == [trial["name"] for trial in others] == [t["name"] for t in result["trials"][1:]]
    for trial in others:
        found = {task: outcome_of(o, "here").mean() for task, o in baseline.outcomes_of(trial["name"]).items()}
        assert found == pytest.approx(trial["accuracy"])
    has_own_data = [trial for trial in baseline.trials.values() if "data" in trial]
    assert len(has_own_data) == (pool == "corrupted")  # the clean pictures are not those of the main trial
    assert judge(baseline, baseline, Settings()).findings == ()
    worse = json.loads(json.dumps(result))
    (task, outcome), *_ = worse["trials"][-1]["outcomes"].items()
    right = unpack(outcome["correct"], outcome["n"])
    right[np.flatnonzero(right)[0]] = False
    outcome |= {"correct": pack(right), "predictions": "others"}
    verdict = judge(baseline, from_result(worse, date="2026-11-26"), Settings(), sources=sources_of(worse))
    assert [(f.kind, f.task) for f in verdict.findings] == [("changed", f"{worse['trials'][-1]['name']}/{task}")]
