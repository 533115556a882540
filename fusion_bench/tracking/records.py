"""Finished runs read back from a store: what each case measured, and every prediction behind it.

A store holds more than good runs: failed and running ones, runs of other programs, files that were removed or damaged.
Those are passed over with a note that says which and why; none of them stops the reading of the rest.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from fusion_bench.errors import FusionBenchError
from fusion_bench.families import method_name
from fusion_bench.metrics.packing import are_shared, unpack_outcome, unpack_sources
from fusion_bench.metrics.predictions import ACCURACY, Predictions
from fusion_bench.tracking.location import StoreLocation
from fusion_bench.tracking.rows import Row, read_rows

SCHEMAS = (1,)  # of report.json: those that this version reads
_OTHERS = frozenset({"analysis", "session"})  # runs of ours that evaluate no fused model
_COLUMNS = ("index", "label", "prediction", "confidence", "loss")


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        result: the content of its ``report.json`` (`CaseResult.to_dict`).
        data: digest of the examples evaluated, by task. Runs can be compared where these agree.
        started: when it began, in UTC.
        fetch: makes an artifact of the run a file on this machine.
    """

    run_id: str
    experiment: str
    started: datetime
    result: Mapping[str, Any]
    data: Mapping[str, str]
    tags: Mapping[str, str]
    fetch: Callable[[str], Path] = field(repr=False, compare=False)

    @property
    def case_id(self) -> str:
        """As pytest shows it: ``ties-clip_mini-mini8``."""
        return str(self.result["case"]["id"])

    @property
    def label(self) -> str:
        """The algorithm with what was changed about it, as on the leaderboard."""
        case = self.result["case"]
        return self.case_id.removesuffix(f"-{case['modelpool']}-{case['taskpool']}")

    @property
    def method(self) -> str:
        """The label without a seed."""
        return method_name(self.result["case"])

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks it evaluated, in the pool's order."""
        return tuple(self.result["tasks"])

    @property
    def is_reference(self) -> bool:
        """Whether it is a bound and not a method."""
        return bool(self.result["kind"] == "reference")

    @property
    def session(self) -> str:
        """The pytest session or command it belongs to."""
        return self.tags.get("session", "")

    @property
    def commit(self) -> str:
        """The commit it ran at, with ``+`` where the checkout had changes; empty for an installed package."""
        return self.tags.get("commit", "")

    @property
    def scored_by(self) -> Mapping[str, str]:
        """The metric of those tasks that are not scored by accuracy."""
        return dict(self.result.get("scored_by", {}))

    def outcomes(self) -> dict[str, np.ndarray]:
        """Which examples were right, bool ``(n,)`` by task, or how each scored, float64 ``(n,)``.

        From the report where it says so, else from the artifact.

        Raises:
            FusionBenchError: as `predictions`.
        """
        outcomes = self.result.get("outcomes", {})
        if set(outcomes) >= set(self.tasks):
            return {task: unpack_outcome(outcomes[task]) for task in self.tasks}
        return {task: found.outcome for task, found in self.predictions().items()}

    def clusters(self) -> dict[str, np.ndarray]:
        """Which source each example comes from, by task, where some share one: as `outcomes` from report or artifact.

        Raises:
            FusionBenchError: as `predictions`.
        """
        known = self.result.get("clusters")
        if known is None:  # a report of an older version
            found = {task: each.cluster for task, each in self.predictions().items()}
            return {task: labels for task, labels in found.items() if labels is not None and are_shared(labels)}
        try:
            return {task: unpack_sources(text, self.result["outcomes"][task]["n"]) for task, text in known.items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise FusionBenchError(f"run {self.run_id} ({self.label}): its clusters are damaged: {error!r}") from error

    def predictions(self) -> dict[str, Predictions]:
        """Every evaluated example, by task.

        Raises:
            FusionBenchError: the artifact is missing, damaged, or not of this run's tasks.
        """
        where = f"run {self.run_id} ({self.label})"
        try:
            path = self.fetch("predictions.parquet")
        except Exception as error:  # a server that lost the file answers in its own way
            raise FusionBenchError(f"{where}: predictions.parquet cannot be fetched: {_brief(error)}") from error
        return read_predictions(path, self.tasks, where=where, scored_by=self.scored_by)


def read_records(
    location: StoreLocation, *, experiments: Sequence[str] | None = None, where: str = ""
) -> tuple[list[Record], list[str]]:
    """Finished cases of a store, newest first, and a note for each run that is none.

    Args:
        experiments: names, ``<modelpool>/<taskpool>``; all where None.
        where: an MLflow filter, such as ``tags.session = 'x'`` or ``params.algorithm = 'ties'``.

    Raises:
        FusionBenchError: no such store or experiment, or a filter that is not understood.
    """
    records: list[Record] = []
    notes: list[str] = []
    fetched = None if location.database is not None else tempfile.TemporaryDirectory(prefix="fusion_bench-")
    for row in read_rows(location, experiments=experiments, where=where):
        if row.tags.get("kind") in _OTHERS:
            continue
        found = _record(row, location, fetched)
        if isinstance(found, Record):
            records.append(found)
        else:
            notes.append(f"run {row.run_id} ({row.name}): {found}")
    return records, notes


def latest(records: Iterable[Record]) -> list[Record]:
    """The newest record of each case, in the order given.

    Records of one case id whose data differ are both kept: they are not two measurements of one thing.
    """
    newest: dict[tuple[Any, ...], Record] = {}
    for record in records:
        key = (record.experiment, record.case_id, tuple(sorted(record.data.items())))
        if key not in newest or record.started > newest[key].started:
            newest[key] = record
    return list(newest.values())


def read_predictions(
    path: Path, tasks: Sequence[str], *, where: str, scored_by: Mapping[str, str] | None = None
) -> dict[str, Predictions]:
    """The content of a ``predictions.parquet``, by task.

    Args:
        scored_by: the metric of tasks that are not scored by accuracy.

    Raises:
        FusionBenchError: no such file, no Parquet, columns or tasks missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise FusionBenchError(f"{where} has no predictions.parquet", hint="run the case again") from None
    except (OSError, pa.ArrowException) as error:
        raise FusionBenchError(
            f"{where}: predictions.parquet cannot be read: {_brief(error)}", hint="run the case again"
        ) from error
    missing = [name for name in ("task", *_COLUMNS) if name not in table.column_names]
    if missing:
        raise FusionBenchError(f"{where}: predictions.parquet has no column {', '.join(missing)}")
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    unnamed = np.ones(len(table), bool)
    if "cluster" in columns:
        unnamed = table.column("cluster").is_null(nan_is_null=True).to_numpy()
    found = {}
    for task in tasks:
        rows = columns["task"] == task
        if not rows.any():
            raise FusionBenchError(f"{where}: predictions.parquet holds no example of task {task}")
        clusters = None if unnamed[rows].any() else columns["cluster"][rows]
        arrays = {name: columns[name][rows] for name in _COLUMNS}
        measured = {name: _measured(arrays[name]) for name in ("confidence", "loss")}
        found[task] = Predictions(
            task,
            **{**arrays, **measured},
            cluster=clusters,
            score=_measured(columns["score"][rows]) if "score" in columns else None,
            metric=(scored_by or {}).get(task, ACCURACY),
        )
    return found


def _measured(values: np.ndarray) -> np.ndarray | None:
    """Numbers of the examples; None where not one was measured, which a file may say by what is no number at all."""
    if values.dtype == object:
        values = values.astype(np.float64)
    return None if np.isnan(values).all() else values


def _record(row: Row, location: StoreLocation, fetched: tempfile.TemporaryDirectory[str] | None) -> Record | str:
    """The record of a run, or why there is none."""
    if "case" not in row.tags:
        return "not a run of fusion_bench"
    if row.status != "FINISHED":
        return row.status + (f", {row.tags['error'].splitlines()[0][:200]}" if row.tags.get("error") else "")
    folder = _local(row.artifacts)

    def fetch(name: str) -> Path:
        if folder is not None:
            return folder / name
        from fusion_bench.tracking.store import Store

        # the folder goes when the last record that may read from it does
        place = Path(fetched.name if fetched is not None else tempfile.mkdtemp(prefix="fusion_bench-")) / row.run_id
        place.mkdir(exist_ok=True)
        return Path(Store(location).client.download_artifacts(row.run_id, name, str(place)))

    try:
        result = json.loads(fetch("report.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "its report.json is missing"
    except Exception as error:  # a server that lost the file answers in its own way
        return f"its report.json cannot be read: {_brief(error)}"
    flaw = _flaw(result)
    if flaw:
        return flaw
    started = datetime.fromtimestamp(row.started / 1000, tz=timezone.utc)
    data = {task: row.data[task] for task in result["tasks"] if task in row.data}
    return Record(row.run_id, row.experiment, started, result, data, row.tags, fetch)


def _flaw(result: Any) -> str | None:
    """What is wrong with the content of a report.json; None where nothing is."""
    if not isinstance(result, dict):
        return "its report.json is no object"
    if result.get("schema") not in SCHEMAS:
        return f"its report.json is of schema {result.get('schema')!r}, this version reads {SCHEMAS[-1]}"
    case, metrics, tasks = result.get("case"), result.get("metrics"), result.get("tasks")
    names = ("id", "algorithm", "modelpool", "taskpool")
    if not isinstance(metrics, dict) or not isinstance(tasks, list) or not tasks or not isinstance(case, dict):
        return "its report.json has no case, tasks or metrics"
    if any(not isinstance(case.get(name), str) for name in names) or not isinstance(result.get("kind"), str):
        return "its report.json does not say which case it is"
    scored = result.get("scored_by", {})  # a correlation may be negative
    shares = [task for task in tasks if task not in scored] + ([] if scored else ["mean"])
    wrong = [f"accuracy/{name}" for name in shares if not _share(metrics.get(f"accuracy/{name}"))]
    wrong += [name for name in ("accuracy/mean", *(f"accuracy/{t}" for t in scored)) if name not in metrics]
    wrong += [name for name, value in metrics.items() if isinstance(value, float) and not math.isfinite(value)]
    return f"no number, or none between 0 and 1: {', '.join(dict.fromkeys(wrong))}" if wrong else None


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and 0.0 <= value <= 1.0


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _local(uri: str) -> Path | None:
    """The folder of artifacts where it is on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(uri) if parts.scheme == "" or len(parts.scheme) == 1 else None  # C:\… is a path, too
