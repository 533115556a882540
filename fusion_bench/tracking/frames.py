"""Results as pandas frames, tidy: for notebooks and for questions that no command asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.metrics.predictions import ACCURACY
from fusion_bench.tracking.location import locate_store
from fusion_bench.tracking.records import Record, latest, read_records

if TYPE_CHECKING:
    import pandas as pd

PER = ("task", "run", "example")

_ABOUT = {
    **dict.fromkeys(("run_id", "experiment", "modelpool", "taskpool", "case", "algorithm", "label", "kind"), "str"),
    "data_access": "str",
    "seed": "Int64",
    "started": "datetime64[us, UTC]",
    **dict.fromkeys(("session", "commit", "fingerprint"), "str"),
}
_TASK = {"task": "str", "metric": "str", "n": "int64"} | dict.fromkeys(
    ("accuracy", "low", "high", "loss", "calibration_error", "normalized", "base", "expert"), "float64"
)
_COSTS = (
    *(f"{part}_seconds" for part in ("loading", "search", "fusion", "evaluation", "protocol", "harness")),
    *("fusion_ratio", "fusion_memory_mb", "peak_memory_mb", "stored_parameters", "examples_seen"),
)
_RUN = dict.fromkeys(("accuracy", "low", "high", "normalized", "loss", *_COSTS), "float64")
_EXAMPLE = {
    "task": "str",
    **dict.fromkeys(("index", "label_index", "prediction"), "int64"),
    **{"correct": "bool", "confidence": "float32", "loss": "float64", "cluster": "str"},
}
_COLUMNS = {"task": _ABOUT | _TASK, "run": _ABOUT | _RUN, "example": _ABOUT | _EXAMPLE}


def results(
    *,
    per: Literal["task", "run", "example"] = "task",
    experiments: Sequence[str] | None = None,
    where: str = "",
    newest: bool = True,
    tracking_uri: str | None = None,
) -> pd.DataFrame:
    """The finished runs of the store as a frame, newest first; notes on the others in ``frame.attrs["notes"]``.

    Columns of every frame: ``run_id``, ``experiment``, ``modelpool``, ``taskpool``, ``case``, ``algorithm``, ``label``
    (algorithm and what was changed), ``kind``, ``data_access``, ``seed``, ``started`` (UTC), ``session``, ``commit``,
    ``fingerprint``: text, but for ``seed`` (``Int64``, missing where the YAML's own was taken) and ``started``
    (``datetime64``). Then numbers (``float64``, NaN where not measured; counts ``int64``), all shares in [0, 1]:

    - ``per="task"``, one row per task and run: ``task``, ``metric`` (what it is scored by), ``n``, ``accuracy`` (its
      score, where it is not scored by accuracy), ``low``, ``high`` (95 %, Wilson),
      ``loss`` (nats), ``calibration_error``, ``normalized`` (over the expert), ``base`` and ``expert`` (accuracy of the
      base model and of the task's expert on the same examples).
    - ``per="run"``, one row a run: ``accuracy``, ``low``, ``high`` (95 % interval of the mean over tasks, the tasks
      fixed), ``normalized``, ``loss``, and a column for each cost: ``loading_seconds``, ``search_seconds``,
      ``fusion_seconds``, ``evaluation_seconds``, ``protocol_seconds``, ``harness_seconds``, ``fusion_ratio`` (to the
      gate's calibration kernel), ``fusion_memory_mb``, ``peak_memory_mb``, ``stored_parameters``, ``examples_seen``.
    - ``per="example"``, one row per run, task and example: ``task``, ``index``, ``label_index``, ``prediction``,
      ``correct`` (``bool``), ``confidence`` (``float32``), ``loss``, ``cluster`` (text). Long: sixteen runs of eight
      tasks are 160,000 rows. Where a task is not scored by right and wrong, there is ``score`` (what an example adds to
      its metric), and ``correct`` (then ``boolean``) is missing.

    A store without such runs gives a frame of the same columns and types with no row.

    Args:
        experiments: names, ``<modelpool>/<taskpool>``; all where None.
        where: an MLflow filter, such as ``params.algorithm = 'ties'``.
        newest: only the newest run of each case; False for all, as a history wants them.
        tracking_uri: the store; by default as everywhere, ``mlruns/mlflow.db`` of the project.

    Raises:
        FusionBenchError: no such store or experiment, or a filter that is not understood.
    """
    import pandas as pd

    if per not in PER:
        raise unknown_name("per", per, PER)
    records, notes = read_records(locate_store(tracking_uri), experiments=experiments, where=where)
    if newest:
        records = latest(records)
    rows = {"task": _tasks, "run": _run, "example": None}[per]
    if rows is None:
        parts = [part for record in records for part in _read(record, lambda r: list(_examples(r)), notes)]
        frame = pd.concat(parts, ignore_index=True) if parts else _empty(per)
    else:
        read = ((record, row) for record in records for row in _read(record, lambda r: list(rows(r)), notes))
        found = [{**_about(record), **row} for record, row in read]
        frame = pd.DataFrame(found) if found else _empty(per)
    # a column in which nothing was measured holds no object that says what it would have held
    numbers = {name: kind for name, kind in _COLUMNS[per].items() if kind != "str"}
    if "correct" in frame and frame["correct"].isna().any():
        numbers["correct"] = "boolean"
    frame = frame.astype({name: kind for name, kind in numbers.items() if name in frame})
    frame.attrs["notes"] = notes
    return frame


def _empty(per: str) -> pd.DataFrame:
    """No row, in the columns and types of frames that have some."""
    import pandas as pd

    kinds = {name: str if kind == "str" else kind for name, kind in _COLUMNS[per].items()}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def _read(record: Record, rows: Callable[[Record], list[Any]], notes: list[str]) -> list[Any]:
    """The rows of a record; none, and a note, where what they are made of is missing or damaged."""
    try:
        return rows(record)
    except FusionBenchError as error:
        notes.append(error.message)
        return []


def _about(record: Record) -> dict[str, Any]:
    case = record.result["case"]
    return {
        "run_id": record.run_id,
        "experiment": record.experiment,
        "modelpool": case["modelpool"],
        "taskpool": case["taskpool"],
        "case": record.case_id,
        "algorithm": case["algorithm"],
        "label": record.label,
        "kind": record.result["kind"],
        "data_access": ", ".join(record.result.get("data_access", ())),
        "seed": case.get("seed"),
        "started": record.started,
        "session": record.session,
        "commit": record.commit,
        "fingerprint": record.result.get("fingerprint", ""),
    }


def _tasks(record: Record) -> Iterator[dict[str, Any]]:
    from fusion_bench.metrics.intervals import accuracy_intervals

    metrics: Mapping[str, float] = record.result["metrics"]
    references = record.result.get("references", {})
    outcomes = record.outcomes()
    intervals = accuracy_intervals(outcomes)
    for task in record.tasks:
        low, high = intervals[task]
        yield {
            "task": task,
            "metric": record.scored_by.get(task, ACCURACY),
            "n": len(outcomes[task]),
            "accuracy": metrics[f"accuracy/{task}"],
            "low": low,
            "high": high,
            "loss": metrics.get(f"loss/{task}"),
            "calibration_error": metrics.get(f"calibration_error/{task}"),
            "normalized": metrics.get(f"normalized/{task}"),
            "base": references.get("pretrained", {}).get(task),
            "expert": references.get("experts", {}).get(task),
        }


def _run(record: Record) -> Iterator[dict[str, Any]]:
    metrics: Mapping[str, float] = record.result["metrics"]
    low, high = record.result.get("interval") or (None, None)
    yield {
        "accuracy": metrics["accuracy/mean"],
        "low": low,
        "high": high,
        "normalized": metrics.get("normalized/mean"),
        "loss": metrics.get("loss/mean"),
        **{name.removeprefix("cost/"): value for name, value in metrics.items() if name.startswith("cost/")},
    }


def _examples(record: Record) -> Iterator[pd.DataFrame]:
    import numpy as np
    import pandas as pd

    for task, found in record.predictions().items():
        columns = {
            "task": task,
            "index": found.index,
            "label_index": found.label,
            "prediction": found.prediction,
            "correct": found.correct if found.score is None else pd.NA,
            "confidence": np.nan if found.confidence is None else found.confidence,
            "loss": np.nan if found.loss is None else found.loss,
            "cluster": found.cluster,
            **({} if found.score is None else {"score": found.score}),
        }
        yield pd.DataFrame({**_about(record), **columns})
