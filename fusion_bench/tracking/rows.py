"""The runs of a store as rows, before anything of them is read: who, when, how it ended, where its files are.

A local database is read with SQL, through a connection that can write nothing: importing MLflow and opening its store
takes two seconds, reading these rows a few hundredths. Filters and servers go through MLflow's client; both give the
same rows (tests/tracking/test_records.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.tracking.location import StoreLocation

if TYPE_CHECKING:
    from fusion_bench.tracking.store import Store

_PAGE = 1000


@dataclass(frozen=True)
class Row:
    """One run; ``data`` is the digest of each data set it was evaluated on, ``started`` milliseconds since 1970."""

    run_id: str
    name: str
    experiment: str
    status: str
    started: int
    artifacts: str
    tags: Mapping[str, str]
    data: Mapping[str, str]


def read_rows(location: StoreLocation, *, experiments: Sequence[str] | None = None, where: str = "") -> list[Row]:
    """The runs of a store that were not deleted, newest first.

    Args:
        experiments: their names; all where None.
        where: a filter of MLflow's.

    Raises:
        FusionBenchError: no such store or experiment, or a filter that MLflow does not understand.
    """
    if location.database is not None:
        if not location.database.is_file():
            raise FusionBenchError(
                f"there are no runs yet: {location.database} does not exist",
                hint="run some, pytest bench -k ties; or name the store with --tracking-uri",
            )
        if not where:
            try:
                return _from_database(location.database, experiments)
            except sqlite3.OperationalError as error:  # opening it as a store would write tables into it
                raise FusionBenchError(
                    f"{location.database} is no store of MLflow, or of a layout that is not known here: {error}",
                    hint="mlflow db upgrade brings an old store up to date",
                ) from error
            except sqlite3.DatabaseError as error:
                raise FusionBenchError(f"{location.database} is no database: {error}") from error
    from fusion_bench.tracking.store import Store

    return _from_client(Store(location), experiments, where)


def _from_database(path: Path, wanted: Sequence[str] | None) -> list[Row]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
        found = dict(
            connection.execute(
                "SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active'"
            ).fetchall()
        )
        _check(wanted, found, str(path))
        chosen = {number: name for name, number in found.items() if wanted is None or name in wanted}
        ours = f"experiment_id IN ({', '.join(map(str, chosen))}) AND lifecycle_stage = 'active'"
        runs = connection.execute(
            f"SELECT run_uuid, name, experiment_id, status, start_time, artifact_uri FROM runs WHERE {ours} "
            "ORDER BY start_time DESC, run_uuid"
        ).fetchall()
        inside = f"IN (SELECT run_uuid FROM runs WHERE {ours})"
        tags: dict[str, dict[str, str]] = {}
        for run_id, key, value in connection.execute(f"SELECT run_uuid, key, value FROM tags WHERE run_uuid {inside}"):
            tags.setdefault(run_id, {})[key] = value
        data: dict[str, dict[str, str]] = {}
        for run_id, name, digest in connection.execute(
            "SELECT inputs.destination_id, datasets.name, datasets.digest FROM inputs JOIN datasets "
            "ON inputs.source_id = datasets.dataset_uuid "
            f"WHERE source_type = 'DATASET' AND destination_type = 'RUN' AND destination_id {inside}"
        ):
            data.setdefault(run_id, {})[name] = digest
    return [
        Row(run_id, name or "", chosen[number], status, started, uri, tags.get(run_id, {}), data.get(run_id, {}))
        for run_id, name, number, status, started, uri in runs
    ]


def _from_client(store: Store, wanted: Sequence[str] | None, where: str) -> list[Row]:
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException

    found = {e.name: e.experiment_id for e in store.client.search_experiments(view_type=ViewType.ACTIVE_ONLY)}
    _check(wanted, found, store.location.uri)
    chosen = {number: name for name, number in found.items() if wanted is None or name in wanted}
    runs: list[Any] = []
    token = None
    try:
        while chosen:
            order = ["attributes.start_time DESC"]
            page = store.client.search_runs(list(chosen), where, ViewType.ACTIVE_ONLY, _PAGE, order, token)
            runs += page
            token = page.token
            if not token:
                break
    except MlflowException as error:
        raise FusionBenchError(
            f"the store does not understand the filter {where!r}: {' '.join(str(error).split())[:300]}",
            hint="for instance: tags.session = 'x', or metrics.`accuracy/mean` > 0.6",
        ) from error
    return [_row(run, chosen[run.info.experiment_id]) for run in runs]


def _row(run: Any, experiment: str) -> Row:
    info = run.info
    inputs = run.inputs.dataset_inputs if run.inputs else []
    data = {entry.dataset.name: entry.dataset.digest for entry in inputs}
    name = info.run_name or ""
    return Row(info.run_id, name, experiment, info.status, info.start_time, info.artifact_uri, run.data.tags, data)


def _check(wanted: Sequence[str] | None, found: Mapping[str, Any], store: str) -> None:
    for name in wanted or ():
        if name not in found:
            raise unknown_name("experiment", name, sorted(found), where=f"the store {store}")
