"""A store of made-up runs, written with SQL into an empty database: five hundred runs in a few seconds."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion_bench.metrics.predictions import Predictions
from tests.report.page.made_runs import MadeRun, World, made_run


def write_store(folder: Path, empty: Path, runs: Sequence[MadeRun], *, predictions: bool = True) -> str:
    """Write the runs into a copy of an ``empty`` database; returns its tracking URI.

    Args:
        predictions: also write every ``predictions.parquet``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database, artifacts = folder / "mlflow.db", folder / "artifacts"
    shutil.copy(empty, database)
    with sqlite3.connect(database) as connection:
        for run in runs:
            home = artifacts / run.run_id / "artifacts"
            home.mkdir(parents=True)
            (home / "report.json").write_text(json.dumps(run.result), encoding="utf-8")
            if predictions:
                _write_predictions(home / "predictions.parquet", run.said)
            _insert(connection, run.experiment, run, home, artifacts)
    return f"sqlite:///{database}"


def add_odd_runs(uri: str) -> dict[str, str]:
    """Runs that are no results; returns by run id the word that a note on it must hold, "" where there must be none."""
    database = Path(uri.removeprefix("sqlite:///"))
    artifacts = database.parent / "artifacts"
    said = World(size=20).predictions(0.5)
    expected = {}
    with sqlite3.connect(database) as connection:
        for number, (name, word) in enumerate(_ODD.items()):
            run = made_run(f"odd_{name}", said, night=90 + number)
            home = artifacts / run.run_id / "artifacts"
            home.mkdir(parents=True)
            content: Any = run.result
            if name == "nan":
                content = {**run.result, "metrics": {**run.result["metrics"], "loss/mean": float("nan")}}
            text = "{not json" if name == "corrupt" else json.dumps(content)
            if name == "schema":
                text = json.dumps({**run.result, "schema": 99})
            if name != "missing":
                (home / "report.json").write_text(text, encoding="utf-8")
            if name == "lost":
                del content["outcomes"]
                (home / "report.json").write_text(json.dumps(content), encoding="utf-8")
            status = {"failed": "FAILED", "running": "RUNNING", "killed": "KILLED"}.get(name, "FINISHED")
            stage = "deleted" if name == "deleted" else "active"
            if name == "foreign":
                del run.tags["case"]
            if name == "failed":
                run.tags["error"] = "ValueError: <b>broken</b>\nmore"
            _insert(connection, run.experiment, run, home, artifacts, status=status, stage=stage)
            expected[run.run_id] = word
    return expected


_ODD = {
    "failed": "ValueError",
    "running": "RUNNING",
    "killed": "KILLED",
    "deleted": "",
    "foreign": "not a run of fusion_bench",
    "corrupt": "cannot be read",
    "missing": "missing",
    "schema": "schema",
    "nan": "loss/mean",
    "lost": "predictions.parquet",
}


def _insert(
    connection: sqlite3.Connection,
    experiment: str,
    run: MadeRun,
    home: Path,
    artifacts: Path,
    *,
    status: str = "FINISHED",
    stage: str = "active",
) -> None:
    began = int(run.started.timestamp() * 1000)
    row = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (experiment,)).fetchone()
    if row is None:
        number = connection.execute("SELECT max(experiment_id) + 1 FROM experiments").fetchone()[0] or 1
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, "
            "last_update_time) VALUES (?, ?, ?, 'active', ?, ?)",
            (number, experiment, artifacts.as_uri(), began, began),
        )
    else:
        number = row[0]
    connection.execute(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, "
        "end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) "
        "VALUES (?, ?, 'UNKNOWN', '', '', 'unknown', ?, ?, ?, '', ?, ?, ?)",
        (run.run_id, run.label[:250], status, began, began + 1000, stage, home.as_uri(), number),
    )
    tags = {**run.tags, "mlflow.runName": run.label}
    connection.executemany(
        "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", [(k, v, run.run_id) for k, v in tags.items()]
    )
    connection.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, 0, 0, ?)",
        [(k, v, began, run.run_id) for k, v in run.result["metrics"].items()],
    )
    for task, digest in run.data.items():
        found = connection.execute(
            "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?",
            (number, task, digest),
        ).fetchone()
        key = found[0] if found else uuid.uuid4().hex
        if not found:
            connection.execute(
                "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source) "
                "VALUES (?, ?, ?, ?, 'local', '{}')",
                (key, number, task, digest),
            )
        connection.execute(
            "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id) "
            "VALUES (?, 'DATASET', ?, 'RUN', ?)",
            (uuid.uuid4().hex, key, run.run_id),
        )


def _write_predictions(path: Path, said: Mapping[str, Predictions]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {name: [] for name in ("index", "label", "prediction", "confidence", "loss")}
    tasks: list[str] = []
    clusters: list[str | None] = []
    for task, found in said.items():
        tasks += [task] * len(found.label)
        clusters += [None] * len(found.label) if found.cluster is None else found.cluster.tolist()
        for name, values in columns.items():
            values.append(getattr(found, name))
    arrays = {name: np.concatenate(values) for name, values in columns.items()}
    pq.write_table(pa.table({"task": tasks, **arrays, "cluster": pa.array(clusters, pa.string())}), path)
