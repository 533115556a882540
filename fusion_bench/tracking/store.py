"""The store itself: created once under a lock, probed before work starts, one client a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking.location import StoreLocation
from fusion_bench.tracking.probe import probe, probe_database

_LOCK_SECONDS = 120

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
        probe(location)
        if location.is_remote:
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        with self._lock():
            if location.database is not None:  # under the lock: another process may be creating it this moment
                probe_database(location.database)
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
            missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
            way = "move it away" if self.location.database is not None else "check its address and its log"
            raise FusionBenchError(
                f"cannot open the tracking store {self._shown()}: {' '.join(str(error).split())[:300]}",
                hint=f"pip install {missing}"
                if missing
                else f"{way}, or name another: --tracking-uri sqlite:///other.db",
            ) from error

    def _shown(self) -> str:
        from sqlalchemy.engine import make_url

        is_address = "://" in self.location.uri and not self.location.is_remote
        return make_url(self.location.uri).render_as_string(hide_password=True) if is_address else self.location.uri

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
