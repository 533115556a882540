"""One tracked run, however it ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking import Store, TrackedRun


def read(store: Store, run: TrackedRun) -> Any:
    return store.client.get_run(run.id)


def files(store: Store, run: TrackedRun) -> list[str]:
    return sorted(artifact.path for artifact in store.client.list_artifacts(run.id))


def upload_and_raise(run: TrackedRun, folder: Path, error: BaseException) -> None:
    with run:
        run.artifacts(folder)
        raise error


def test_what_is_logged_is_what_is_read(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out" / "model").mkdir(parents=True)
    (tmp_path / "out" / "report.json").write_text("{}")
    (tmp_path / "out" / "model" / "config.json").write_text("{}")
    params = {f"p{n}": n for n in range(150)}  # more than a server takes in one call
    with TrackedRun(store, "pool/tasks", "ties", {"case": "ties-pool-tasks"}) as run:
        assert read(store, run).info.status == "RUNNING"
        run.artifacts(tmp_path / "out")
        run.datasets({"mnist": "a" * 64}, {"mnist": 500})
        run.model("ties", {"accuracy/mean": 0.5}, {"kind": "merging"})
        run.log({"accuracy/mnist": 0.25, "accuracy/mean": 0.5}, params, {"note": "x" * 9000})
    found = read(store, run)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "ties")
    assert found.data.metrics == {"accuracy/mnist": 0.25, "accuracy/mean": 0.5}
    assert found.data.params == {name: str(value) for name, value in params.items()}
    assert len(found.data.tags["note"]) == 7900
    assert files(store, run) == ["model", "report.json"]
    (data,) = found.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("mnist", "a" * 32)
    (logged,) = store.client.search_logged_models([found.info.experiment_id])
    assert (logged.name, str(logged.status), logged.source_run_id) == ("ties", "READY", run.id)
    assert {metric.key: metric.value for metric in logged.metrics} == {"accuracy/mean": 0.5}


def test_an_exception_leaves_a_failed_run_with_its_traceback_and_no_half_of_the_files(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.parquet").write_bytes(b"half")
    run = TrackedRun(store, "pool/tasks", "ties", {})
    with pytest.raises(ZeroDivisionError):
        upload_and_raise(run, tmp_path / "out", ZeroDivisionError("by nothing"))
    found = read(store, run)
    assert found.info.status == "FAILED"
    assert "ZeroDivisionError" in found.data.tags["error"]
    assert "ZeroDivisionError" in found.data.tags["mlflow.note.content"]
    assert files(store, run) == ["traceback.txt"]
    path = store.client.download_artifacts(run.id, "traceback.txt", str(tmp_path))
    assert "in upload_and_raise" in Path(path).read_text()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_a_killed_run_without_files(
    store: Store, tmp_path: Path, kind: type[BaseException]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("{}")
    run = TrackedRun(store, "pool/tasks", "ties", {})
    with pytest.raises(kind):
        upload_and_raise(run, tmp_path / "out", kind())
    assert read(store, run).info.status == "KILLED"
    assert files(store, run) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number_fails_the_run(store: Store, value: float) -> None:
    run = TrackedRun(store, "pool/tasks", "ties", {})
    with pytest.raises(FusionBenchError, match="loss/mnist"), run:
        run.log({"accuracy/mnist": 0.5, "loss/mnist": value}, {}, {})
    found = read(store, run)
    assert found.info.status == "FAILED"
    assert found.data.metrics == {}
