"""The store: refused before work where it cannot be used, made once however many start together."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking import Store, locate_store
from fusion_bench.tracking import probe as module

WRITER = """
import sys
from pathlib import Path
from fusion_bench.tracking import Store, TrackedRun, locate_store
for number in range(5):
    store = Store(locate_store(start=Path(sys.argv[1])))
    with TrackedRun(store, "pool/tasks", f"{sys.argv[2]}-{number}", {"case": "c"}) as run:
        run.log({f"accuracy/{task}": 0.5 for task in range(20)}, {"a": 1}, {})
"""


def test_four_processes_that_start_together_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    start = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*start, str(n)], stderr=subprocess.PIPE, text=True) for n in range(4)]
    errors = [writer.communicate(timeout=300)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, errors
    store = Store(locate_store(start=tmp_path))
    runs = store.client.search_runs([store.experiment("pool/tasks")], max_results=100)
    assert sorted(run.info.run_name for run in runs) == sorted(f"{n}-{m}" for n in range(4) for m in range(5))
    assert all(len(run.data.metrics) == 20 and run.info.status == "FINISHED" for run in runs)


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("not a folder")
    with pytest.raises(FusionBenchError, match=r"(?s)mlruns is a file.*--tracking-uri"):
        Store(locate_store(start=tmp_path))
    assert (tmp_path / "mlruns").read_text() == "not a folder"


def test_a_locked_database_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    connection = sqlite3.connect(str(store.location.database))
    connection.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(FusionBenchError, match="locked"):
            Store(store.location)
    finally:
        connection.close()
    Store(store.location)  # and opens again once it is free


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("these are my notes, not a database; " * 100)
    with pytest.raises(FusionBenchError, match="cannot write to"):
        Store(locate_store(f"sqlite:///{path}"))
    assert path.read_text().startswith("these are my notes")


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(FusionBenchError, match=r"(?s)does not answer.*MLFLOW_TRACKING_URI"):
        Store(locate_store(f"http://127.0.0.1:{port}"))
    assert time.monotonic() - start < 10


def test_a_server_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(FusionBenchError, match="does not answer"):
        Store(locate_store(f"http://127.0.0.1:{silent.getsockname()[1]}"))


@pytest.fixture
def broken_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_that_is_broken_is_told(broken_server: str) -> None:
    with pytest.raises(FusionBenchError, match="503"):
        Store(locate_store(broken_server))


def test_an_experiment_is_made_once_with_its_note_and_artifacts_beside_the_database(store: Store) -> None:
    first = store.experiment("pool/tasks")
    assert Store(store.location).experiment("pool/tasks") == first
    found = store.client.get_experiment(first)
    assert Path(found.artifact_location.removeprefix("file://")) == store.location.artifacts
    assert "accuracy/mean" in found.tags["mlflow.note.content"]


def test_a_deleted_experiment_comes_back(store: Store) -> None:
    first = store.experiment("pool/tasks")
    store.client.delete_experiment(first)
    assert Store(store.location).experiment("pool/tasks") == first
    assert store.client.get_experiment(first).lifecycle_stage == "active"
