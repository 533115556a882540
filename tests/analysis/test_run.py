"""Analyses from names to tracked runs, on the toy pool."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fusion_bench.analysis import cosine_matrix, cross_task, run_analysis
from fusion_bench.analysis.case import ANALYSES, analysis_cases
from fusion_bench.analysis.run import Analysis
from fusion_bench.analysis.table import Table
from fusion_bench.cases import Session
from fusion_bench.errors import FusionBenchError


@pytest.fixture(scope="module")
def session(toy_config, tmp_path_factory):
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    with Session(config_dir=toy_config, tracking_uri=uri, source="pytest bench -k analysis", name="here") as opened:
        yield opened


def case(name: str, toy_config, **more):
    (found,) = analysis_cases(analyses=[name], modelpools=["toy"], config_dir=toy_config, **more)
    return found


@pytest.mark.parametrize("name", ANALYSES)
def test_every_analysis_leaves_a_finished_run(name: str, session: Session, toy_config, tmp_path) -> None:
    found = run_analysis(case(name, toy_config), session)
    client = session.store.client
    run = client.get_run(found.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", name)
    assert client.get_experiment(run.info.experiment_id).name == "toy/toy2 analysis"
    assert run.data.metrics == pytest.approx(found.metrics)
    assert all(math.isfinite(value) for value in found.metrics.values())
    assert all("/" in metric for metric in found.metrics)
    expected = {"kind": "analysis", "case": f"{name}-toy-toy2", "session": "here", "data_access": found.data_access}
    expected |= {"fingerprint": found.fingerprint, "device": "cpu"}
    assert expected.items() <= run.data.tags.items()
    names = {"analysis": name, "modelpool": "toy", "taskpool": "toy2", "modelpool.type": "embedded_clip"}
    assert names.items() <= run.data.params.items()
    files = {file.path: file.file_size for file in client.list_artifacts(found.run_id)}
    assert set(files) == {"analysis.json", *(f"{table}.png" for table in found.tables)}
    assert all(size > 4000 for file, size in files.items() if file.endswith(".png"))
    content = json.loads(Path(client.download_artifacts(found.run_id, "analysis.json", str(tmp_path))).read_text())
    assert (content["schema"], content["kind"], content["title"]) == (1, "analysis", ANALYSES[name])
    assert all(table["note"] and table["measure"] for table in content["tables"].values())
    rounded = {key: Table.from_dict(table.to_dict()) for key, table in found.tables.items()}
    assert Analysis.from_dict(content).tables == rounded


def test_the_leaderboard_of_the_pools_is_not_touched(session: Session, toy_config) -> None:
    run_analysis(case("norms", toy_config), session)
    assert session.store.client.get_experiment_by_name("toy/toy2") is None
    note = session.store.client.get_experiment_by_name("toy/toy2 analysis").tags["mlflow.note.content"]
    assert "one run per analysis" in note


def test_tables_hold_what_the_functions_find(session: Session, toy_config) -> None:
    asked = case("cosines", toy_config)
    found = run_analysis(asked, session)
    pool = session.modelpool(asked.pools)
    expected = cosine_matrix(pool.state_dict("base"), {name: pool.state_dict(name) for name in pool.expert_names})
    table = found.tables["cosines"]
    assert table.rows == table.columns == expected.names == ("circles", "stripes")
    assert [list(row) for row in table.values] == expected.whole.tolist()
    assert found.metrics["cosine/mean"] == expected.mean
    assert found.tables["layers"].columns == ("circles · stripes",)

    found = run_analysis(case("cross_task", toy_config), session)
    expected = cross_task(pool, session.bound(asked.pools).adapters)
    assert found.tables["accuracy"].rows == ("base", "circles", "stripes", "multitask")
    assert [list(row) for row in found.tables["accuracy"].values] == (100 * expected.accuracy).tolist()
    assert found.metrics["accuracy/own"] == pytest.approx(sum(expected.own().values()) / 2)
    lost = expected.elsewhere()["circles"] - expected.row("base")[expected.tasks.index("stripes")]
    assert found.metrics["transfer/circles"] == pytest.approx(lost)


def test_experts_stand_in_the_order_of_their_tasks(session: Session, toy_config) -> None:
    found = run_analysis(case("cross_task", toy_config, overrides=["taskpool.tasks=[stripes,circles]"]), session)
    assert found.tables["change"].rows == ("stripes", "circles", "multitask")
    assert found.tables["change"].columns == ("stripes", "circles")


def test_a_task_without_an_expert_and_an_expert_without_a_task(session: Session, toy_config) -> None:
    alone = {"overrides": ["taskpool.tasks=[circles]"]}
    found = run_analysis(case("cross_task", toy_config, **alone), session)
    assert found.tables["accuracy"].rows == ("base", "circles", "stripes", "multitask")
    assert not any(name.startswith("transfer/") for name in found.metrics)
    found = run_analysis(case("paths", toy_config, **alone), session)
    assert found.tables["loss"].rows == ("circles",)
    assert "barriers" not in found.tables


def test_a_finished_run_is_reused_only_where_nothing_changed(session: Session, toy_config) -> None:
    first = run_analysis(case("signs", toy_config), session)
    with Session(config_dir=toy_config, tracking_uri=session.store.location.uri, resume=True) as later:
        later.code = session.code  # whoever edits the package meanwhile
        again = run_analysis(case("signs", toy_config), later)
        assert (again.resumed, again.run_id, again.fingerprint) == (True, first.run_id, first.fingerprint)
        assert again.metrics == pytest.approx(first.metrics)
        other = run_analysis(case("signs", toy_config, overrides=["taskpool.tasks=[stripes]"]), later)
        assert not other.resumed
        later.store.remove_artifacts(other.run_id, "analysis.json")
        assert not run_analysis(case("signs", toy_config, overrides=["taskpool.tasks=[stripes]"]), later).resumed


def test_without_a_store_the_numbers_are_the_same(session: Session, toy_config) -> None:
    tracked = run_analysis(case("kinship", toy_config), session)
    with Session(config_dir=toy_config, tracking_uri="") as bare:
        bare.code = session.code
        found = run_analysis(case("kinship", toy_config), bare)
    assert found.run_id is None
    assert found.tables == tracked.tables
    assert found.fingerprint == tracked.fingerprint


def test_a_case_that_is_refused_leaves_a_failed_run(session: Session, toy_config) -> None:
    with pytest.raises(FusionBenchError, match="nowhere"):
        run_analysis(case("norms", toy_config, overrides=["modelpool.path=nowhere"]), session)
    with pytest.raises(FusionBenchError, match="unknown device"):
        run_analysis(case("norms", toy_config, device="abacus"), session)
    client = session.store.client
    runs = client.search_runs([session.store.experiment("toy/toy2 analysis")], "attributes.status = 'FAILED'")
    names = {run.info.run_name for run in runs}
    assert names == {"norms[modelpool.path=nowhere]", "norms[device=abacus]"}
    assert all(run.data.tags["kind"] == "analysis" and run.data.tags["error"] for run in runs)


@pytest.mark.parametrize("change", [{"schema": 2}, {"kind": "report"}, {"tables": None}, {"more": 1}, {"metrics": ...}])
def test_other_documents_are_refused(change: dict, session: Session, toy_config) -> None:
    content = run_analysis(case("norms", toy_config), session).to_dict()
    assert Analysis.from_dict(content)
    content = {key: value for key, value in {**content, **change}.items() if value is not ...}
    with pytest.raises(FusionBenchError, match="not a"):
        Analysis.from_dict(content)
