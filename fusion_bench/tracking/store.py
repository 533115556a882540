"""The store itself: created once under a lock, probed before work starts, one client a process."""

from __future__ import annotations

import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking.location import StoreLocation

_LOCK_SECONDS = 120
_PROBE_SECONDS = 5

_NOTE = """Runs of `{name}`: one per algorithm, on the same models and the same examples.

`accuracy/mean` is the unweighted mean over tasks on the test split, `normalized/*` is relative to the task's expert.
Rows of kind `reference` (pretrained, experts, multitask) are bounds, not methods.
"""


class Store:
    """An open MLflow store.

    Opening creates a missing SQLite database under a file lock: several processes that start together on a fresh
    checkout would otherwise destroy it.

    Raises:
        FusionBenchError: a server that does not answer, a folder that cannot be written, a locked or damaged database.
    """

    def __init__(self, location: StoreLocation) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a bar for every JSON file
        self.location = location
        self._experiments: dict[str, str] = {}
        if location.is_remote:
            _probe_server(location.uri)
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        elif location.database is not None:
            _probe_folder(location.database.parent)
        with self._lock():
            if location.database is not None:  # under the lock: another process may be creating it this moment
                _probe_database(location.database)
            self.client = self._open()

    def _open(self) -> Any:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with _quiet():
                client = MlflowClient(self.location.uri, registry_uri=self.location.uri)
                client.search_experiments(max_results=1)  # the first use creates the tables
            return client
        except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
            raise FusionBenchError(
                f"cannot open the tracking store {self.location.uri}: {' '.join(str(error).split())[:300]}",
                hint="move it away, or name another with --tracking-uri sqlite:///other.db",
            ) from error

    def experiment(self, name: str) -> str:
        """The id of an experiment, created where it is missing."""
        if name not in self._experiments:
            with self._lock():
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    place = None if self.location.artifacts is None else self.location.artifacts.as_uri()
                    tags = {"mlflow.note.content": _NOTE.format(name=name)}
                    self._experiments[name] = self.client.create_experiment(name, place, tags=tags)
                elif found.lifecycle_stage != "active":
                    self.client.restore_experiment(found.experiment_id)
                    self._experiments[name] = found.experiment_id
                else:
                    self._experiments[name] = found.experiment_id
        return self._experiments[name]

    def finished(self, experiment: str, fingerprint: str) -> Any | None:
        """The newest finished run with this fingerprint, else None."""
        runs = self.client.search_runs(
            [self.experiment(experiment)],
            f"tags.fingerprint = '{fingerprint}' and attributes.status = 'FINISHED'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return runs[0] if runs else None

    def with_model(self, experiment: str, session: str) -> list[Any]:
        """The runs of a session whose fused model is kept."""
        words = f"tags.session = '{session}' and tags.model = 'kept'"
        return list(self.client.search_runs([self.experiment(experiment)], words, max_results=1000))

    def remove_artifacts(self, run_id: str, path: str | None = None) -> None:
        """Delete a file or folder among the artifacts of a run, or all of them."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        get_artifact_repository(self.client.get_run(run_id).info.artifact_uri).delete_artifacts(path)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        database = self.location.database
        if database is None:
            yield
            return
        from filelock import FileLock, Timeout

        path = database.with_name(f".{database.name}.lock")
        try:
            with FileLock(path, timeout=_LOCK_SECONDS):
                yield
        except Timeout:
            raise FusionBenchError(
                f"{path} is held by another process for over {_LOCK_SECONDS} s",
                hint="wait for it, or remove the file if no process of ours runs",
            ) from None


def _probe_server(uri: str) -> None:
    if not uri.startswith("http"):
        return
    address = f"{uri.rstrip('/')}/health"
    try:
        with urllib.request.urlopen(address, timeout=_PROBE_SECONDS) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise FusionBenchError(
                f"the tracking server {uri} answers {error.code} {error.reason}",
                hint="look at its log, or unset MLFLOW_TRACKING_URI to use the database in mlruns/",
            ) from error
        # it answers; a server without /health is still a server
    except (OSError, ValueError) as error:
        raise FusionBenchError(
            f"the tracking server {uri} does not answer: {getattr(error, 'reason', error)}",
            hint="start it, or unset MLFLOW_TRACKING_URI to use the database in mlruns/",
        ) from error


def _probe_folder(folder: Path) -> None:
    """Find out now whether the folder can be written, rather than after an hour of fusing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FusionBenchError(
            f"cannot write to {folder}: {error.strerror}",
            hint="check its permissions, or name another store with --tracking-uri sqlite:///other.db",
        ) from error


def _probe_database(database: Path) -> None:
    if not database.exists():
        return
    try:
        connection = sqlite3.connect(database, timeout=_PROBE_SECONDS)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise FusionBenchError(
            f"cannot write to {database}: {error}",
            hint="another program holds it, or it is no SQLite file; close that, or use --tracking-uri sqlite:///other.db",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without alembic's fifty lines about migrations."""
    import logging

    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow.store.db.utils", "mlflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
