"""Runs read back from a store that holds more than good ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking import Store, TrackedRun, locate_store
from fusion_bench.tracking.finding import find
from fusion_bench.tracking.frames import results
from fusion_bench.tracking.records import latest, read_records
from fusion_bench.tracking.rows import _from_client, _from_database, read_rows
from tests.helpers.results import make_result, right
from tests.helpers.stored_runs import store_run


class Filled:
    """A store with two good runs of ties, one of slerp, and seven that are none."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.location = store, store.location
        number = itertools.count()

        def add(**options):
            files, session = options.pop("files", None), options.pop("session", "s1")
            clusters = options.pop("clusters", None)
            result = options.pop("result", None) or make_result(**options)
            place = folder / str(next(number))
            return store_run(store, result, place, files=files, session=session, clusters=clusters)

        better = {"a": right(400, 0.8), "b": right(300, 0.5)}
        self.first = add()
        self.second = add(correct=better, session="s2", commit="beef01", clusters={"a": np.arange(400) // 4})
        self.slerp = add(label="slerp", session="s2")
        self.bad = {
            "no report": add(label="x", files={"report.json": None}),
            "no JSON": add(label="x", files={"report.json": b"{"}),
            "schema 9": add(label="x", result={**make_result(label="x"), "schema": 9}),
            "no number": add(label="x", files={"report.json": _with_nan()}),
        }
        with pytest.raises(RuntimeError), TrackedRun(store, "p/t", "failing", {"case": "failing-p-t"}) as run:
            raise RuntimeError("boom")
        self.bad["FAILED, RuntimeError: boom"] = run.id
        running = store.client.create_run(store.experiment("p/t"), tags={"case": "y"}, run_name="running")
        self.bad["RUNNING"] = running.info.run_id
        foreign = store.client.create_run(store.experiment("p/t"), run_name="theirs")
        self.bad["not a run of fusion_bench"] = foreign.info.run_id
        self.deleted = add(label="deleted")
        store.client.delete_run(self.deleted)


def _with_nan() -> bytes:
    import json

    content = {"schema": 1, **make_result(label="x")}
    content["metrics"]["accuracy/a"] = float("nan")
    return json.dumps(content).encode()


@pytest.fixture(scope="module")
def filled(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    import shutil

    folder = tmp_path_factory.mktemp("filled")
    shutil.copy(empty_database, folder / "mlflow.db")
    return Filled(Store(locate_store(f"sqlite:///{folder}/mlflow.db")), folder / "files")


def test_sql_and_mlflow_give_the_same_rows(filled: Filled) -> None:
    direct = _from_database(filled.location.database, None)
    asked = _from_client(filled.store, None, "")
    assert {row.run_id: row for row in direct} == {row.run_id: row for row in asked}
    assert len(direct) == 10
    assert [row.started for row in direct] == sorted((row.started for row in direct), reverse=True)


def test_good_runs_are_read_and_the_others_named(filled: Filled) -> None:
    records, notes = read_records(filled.location)
    assert {record.run_id for record in records} == {filled.first, filled.second, filled.slerp}
    assert len(notes) == len(filled.bad)
    for said, run_id in filled.bad.items():
        (note,) = [note for note in notes if run_id in note]
        assert (said in note) or said in {"no report", "no JSON", "no number"}, note
    assert not any(filled.deleted in note for note in notes)


def test_a_record_knows_what_it_measured(filled: Filled) -> None:
    record = next(r for r in read_records(filled.location)[0] if r.run_id == filled.second)
    assert (record.case_id, record.label, record.session, record.commit) == ("ties-p-t", "ties", "s2", "beef01")
    assert record.tasks == ("a", "b")
    assert record.data == {"a": "d", "b": "d"}
    assert record.outcomes()["a"].mean() == 0.8
    predictions = record.predictions()
    assert predictions["a"].value == 0.8
    assert predictions["a"].cluster is not None
    assert predictions["b"].cluster is None


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_predictions_that_are_gone_or_damaged_are_named(store: Store, tmp_path: Path, content) -> None:
    run_id = store_run(store, make_result(), tmp_path / "files", files={"predictions.parquet": content})
    (record,) = read_records(store.location)[0]
    with pytest.raises(FusionBenchError, match=run_id):
        record.predictions()
    assert record.outcomes()["a"].mean() == 0.75  # the report says so, too


def test_the_newest_of_each_case(filled: Filled) -> None:
    records = latest(read_records(filled.location)[0])
    assert {record.run_id for record in records} == {filled.second, filled.slerp}


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match="there are no runs yet"):
        read_rows(locate_store(f"sqlite:///{tmp_path}/none.db"))
    assert not (tmp_path / "none.db").exists()


def test_an_experiment_and_a_filter_that_are_wrong(filled: Filled) -> None:
    with pytest.raises(FusionBenchError, match="unknown experiment 'p/u'"):
        read_rows(filled.location, experiments=["p/u"])
    with pytest.raises(FusionBenchError, match="does not understand the filter"):
        read_rows(filled.location, where="accuracy over 9")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database, but a text that is long enough to be looked at" * 9)
    with pytest.raises(FusionBenchError, match="is no database"):
        read_rows(locate_store(f"sqlite:///{tmp_path}/x.db"))


def test_runs_are_found_by_what_a_person_types(filled: Filled) -> None:
    records, _ = read_records(filled.location)

    def found(text: str) -> set[str]:
        return {record.run_id for record in find(text, filled.location, records)}

    for text in ("ties", "ties-p-t", "p/t/ties", "ties@0", filled.second[:8], "commit:beef01"):
        assert found(text) == {filled.second}, text
    assert found("ties@1") == {filled.first}
    assert found("session:s2") == {filled.second, filled.slerp}
    assert found("params.algorithm = 'slerp'") == {filled.slerp}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tiez", "did you mean 'ties'"),
        ("ties@9", "ties@0 is the newest"),
        ("session:zz", "unknown session 'zz'"),
        ("params.algorithm = 'zz'", "no finished run"),
    ],
)
def test_what_is_not_found_is_said_with_what_there_is(filled: Filled, text: str, said: str) -> None:
    with pytest.raises(FusionBenchError) as error:
        find(text, filled.location, read_records(filled.location)[0])
    assert said in str(error.value)


def test_frames_are_tidy(filled: Filled) -> None:
    frame = results(tracking_uri=filled.location.uri)
    assert len(frame) == 4
    assert len(frame.attrs["notes"]) == len(filled.bad)
    row = frame[(frame.label == "ties") & (frame.task == "a")].iloc[0]
    assert (row.accuracy, row.n, row.base, row.expert) == (0.8, 400, 0.3, 0.9)
    assert row.low < 0.8 < row.high
    assert len(results(newest=False, tracking_uri=filled.location.uri)) == 6
    runs = results(per="run", tracking_uri=filled.location.uri)
    assert set(runs.fusion_seconds) == {1.0}
    examples = results(per="example", where="params.algorithm = 'slerp'", tracking_uri=filled.location.uri)
    assert len(examples) == 700
    assert examples.groupby("task").correct.mean().to_dict() == {"a": 0.75, "b": 0.5}
    with pytest.raises(FusionBenchError, match="did you mean 'task'"):
        results(per="tasks", tracking_uri=filled.location.uri)  # type: ignore[arg-type]


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE x (a)")
    before = path.read_bytes()
    with pytest.raises(FusionBenchError, match="is no store of MLflow"):
        read_rows(locate_store(f"sqlite:///{path}"))
    assert path.read_bytes() == before


def test_one_damaged_run_is_a_note_in_the_frame(store: Store, tmp_path: Path) -> None:
    store_run(store, make_result(), tmp_path / "good")
    gone = store_run(store, make_result(label="slerp"), tmp_path / "bad", files={"predictions.parquet": None})
    frame = results(per="example", tracking_uri=store.location.uri)
    assert set(frame.label) == {"ties"}
    assert any(gone in note for note in frame.attrs["notes"])
