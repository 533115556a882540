"""Running a case: prepare, fuse, evaluate, track. Both doors, pytest and the command line, end here."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fusion_bench.cases.case import Case
from fusion_bench.cases.prepare import Prepared, prepare
from fusion_bench.cases.result import SCHEMA, CaseResult
from fusion_bench.cases.session import Session
from fusion_bench.cases.startup import import_libraries
from fusion_bench.cases.trials import Finished, Trials, packed_outcomes, packed_sources
from fusion_bench.errors import FusionBenchError
from fusion_bench.memory import PeakMemory
from fusion_bench.metrics import accuracy, calibration_error, mean_accuracy_interval, normalized_accuracy
from fusion_bench.metrics.predictions import ACCURACY, Predictions
from fusion_bench.models.lent import stored_parameters
from fusion_bench.progress import Progress, silent
from fusion_bench.regression.calibration import calibrate
from fusion_bench.taskpools.evaluate import evaluate

if TYPE_CHECKING:
    from torch import nn

    from fusion_bench.algorithms.base import Algorithm
    from fusion_bench.modelpools.base import ModelPool


def run_case(case: Case, session: Session | None = None, progress: Progress = silent) -> CaseResult:
    """Fuse, evaluate on the test split, and leave one tracked run.

    Args:
        case: what to run.
        session: what is shared between cases; None opens one for this case alone.
        progress: told of every stage.

    Raises:
        FusionBenchError: whatever a user can mend, before work starts where that can be seen; the run is FAILED.
    """
    if session is None:
        with Session() as own:
            return run_case(case, own, progress)
    began = time.perf_counter()
    progress("prepare", 0, 1)
    store = session.store  # opened, and found to be writable, before anything is loaded
    import_libraries(tracked=store is not None)
    opening = time.perf_counter() - began
    if store is None:
        prepared = prepare(case, session)
        return _compute(prepared, session, _tags(prepared, session), progress, began, opening)[0]

    from fusion_bench.cases.record import record
    from fusion_bench.tracking.run import TrackedRun
    from fusion_bench.tracking.sweep import process_tags

    try:
        prepared = prepare(case, session)
    except Exception:
        with TrackedRun(store, case.experiment, case.label, {**_about(case, session), **process_tags()}):
            raise  # a case that is refused leaves a FAILED run like any other that goes wrong
    if session.resume:
        found = _resumed(store, case, prepared.fingerprint)
        if found is not None:
            return found
    tags = _tags(prepared, session)
    with TrackedRun(store, case.experiment, case.label, {**tags, **process_tags()}) as run:
        computed = _compute(prepared, session, tags, progress, began, opening, run_id=run.id)
        return record(run, store, *computed, session, prepared.bound, began)


def _about(case: Case, session: Session) -> dict[str, str]:
    return {
        "case": case.id,
        "kind": case.kind,
        "device": case.device,
        "session": session.name,
        "mlflow.source.name": session.source,
        "mlflow.source.type": "LOCAL",
        **session.provenance,
    }


def _tags(prepared: Prepared, session: Session) -> dict[str, str]:
    access = ", ".join(prepared.algorithm.data_access)
    tags = {**_about(prepared.case, session), "fingerprint": prepared.fingerprint, "data_access": access}
    tags["precision"] = prepared.bound.steps.precision(prepared.case.device)
    tags |= {"seedless": prepared.seedless} if prepared.seedless else {}
    return tags | ({"plugins": json.dumps(prepared.plugins)} if prepared.plugins else {})


def _compute(
    prepared: Prepared,
    session: Session,
    tags: dict[str, str],
    progress: Progress,
    began: float,
    opening: float,
    run_id: str | None = None,
) -> tuple[CaseResult, nn.Module, dict[str, Predictions], Finished]:
    case, bound, algorithm = prepared.case, prepared.bound, prepared.algorithm
    pool, adapters = bound.modelpool, bound.adapters
    start = time.perf_counter()
    for adapter in adapters.values():  # text heads and decoded images belong to loading, once a session
        adapter.size("test")
    base, experts = session.references(case, progress)
    loading = prepared.loading + opening + time.perf_counter() - start
    trials = Trials(prepared, progress)
    with PeakMemory() as memory:
        searching, search = 0.0, None
        if prepared.grid:
            start = time.perf_counter()
            algorithm, search = trials.search()
            searching = time.perf_counter() - start
        progress("fuse", 0, 1)
        model, costs = fuse(algorithm, pool, progress)
        start = time.perf_counter()
        shared: dict[str, Any] = {"cache": bound.cache, "device": case.device, "steps": bound.steps}
        predictions = evaluate(model, adapters, progress=progress, **shared)
        evaluating = time.perf_counter() - start
    placing = bound.steps.placing
    tags = {**tags, "placement": placing.how, "weights_dtype": placing.dtype}
    check_finite_losses(predictions)
    known = {task: p.value for task, p in experts.items()}
    start = time.perf_counter()
    finished = trials.finish(predictions, search, known)
    for tried in finished.predictions.values():
        check_finite_losses(tried)
    trying = time.perf_counter() - start
    metrics = summary(predictions, known)
    metrics |= {
        **finished.metrics,
        **costs,
        "cost/protocol_seconds": trying,
        "cost/search_seconds": searching,
        "cost/evaluation_seconds": evaluating,
        "cost/loading_seconds": loading,
        "cost/peak_memory_mb": memory.peak / 1e6,
        "cost/stored_parameters": float(stored_parameters(model)),
        "cost/examples_seen": float(finished.outcomes[0].examples),
        "cost/harness_seconds": time.perf_counter()
        - (began + costs["cost/fusion_seconds"] + searching + evaluating + loading + trying),
    }
    names = {group: getattr(case, group) for group in ("algorithm", "modelpool", "taskpool")}
    given = {"overrides": list(case.overrides), "seed": case.seed, "device": case.device, "id": case.id}
    chosen = {**prepared.config["algorithm"], **(search.best if search else {})}
    bounds = {"pretrained": base, "experts": experts}
    result = CaseResult(
        case={**names, **given},
        kind=case.kind,
        tasks=list(predictions),
        metrics=metrics,
        interval=list(interval(predictions)),
        data_access=list(algorithm.data_access) + (["labels (validation)"] if search else []),
        config={**prepared.config, "algorithm": chosen},
        fingerprint=prepared.fingerprint,
        tags=tags,
        references={name: {task: p.value for task, p in found.items()} for name, found in bounds.items()},
        reference_measures={name: also for name, found in bounds.items() if (also := measured(found))},
        scored_by={task: p.metric for task, p in predictions.items() if p.metric != ACCURACY},
        search=search.to_dict() if search else {},
        outcomes=packed_outcomes(predictions),
        reference_outcomes={name: packed_outcomes(found) for name, found in bounds.items()},
        clusters=packed_sources(predictions),
        data={task: adapters[task].data_hash("test") for task in predictions},
        deterministic=algorithm.deterministic,
        trials=finished.to_list(),
        groups=[dataclasses.asdict(group) for group in finished.groups],
        plugins=prepared.plugins,
        seedless=prepared.seedless,
        run_id=run_id,
    )
    return result, model, predictions, finished


def interval(predictions: Mapping[str, Predictions]) -> tuple[float, float]:
    """95 % interval of the mean accuracy over the test examples; those that share a source are counted together."""
    clusters = {task: p.cluster for task, p in predictions.items() if p.cluster is not None}
    return mean_accuracy_interval({task: p.outcome for task, p in predictions.items()}, clusters=clusters or None)


def fuse(algorithm: Algorithm, pool: ModelPool, progress: Progress = silent) -> tuple[nn.Module, dict[str, float]]:
    """The fused model and what it took: seconds, processor seconds over the calibration kernel's, memory."""
    with PeakMemory(private=True) as memory:
        start, worked = time.perf_counter(), time.process_time()
        model = algorithm.run(pool, progress=progress)
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
    return model, {
        "cost/fusion_seconds": seconds,
        "cost/fusion_ratio": worked / calibrate(),
        "cost/fusion_memory_mb": (memory.peak - memory.start) / 1e6,
    }


def fuse_again(case: Case, session: Session, result: CaseResult) -> dict[str, float]:
    """What fusing costs when it is done once more, with the values that the result's search chose."""
    prepared = prepare(case, session)
    chosen = {name: result.config["algorithm"][name] for name in prepared.grid}
    return fuse(dataclasses.replace(prepared.algorithm, **chosen), prepared.bound.modelpool)[1]


def check_finite_losses(predictions: Mapping[str, Predictions]) -> None:
    """Refuse a model whose outputs are not numbers: its accuracy would look like one.

    Raises:
        FusionBenchError: a loss that is NaN or infinite, with the task and how many.
    """
    for task, p in predictions.items():
        numbers = [values for values in (p.loss, p.score) if values is not None]
        wrong = max((int((~np.isfinite(values)).sum()) for values in numbers), default=0)
        if wrong:
            raise FusionBenchError(
                f"the fused model's outputs are not finite for {wrong} of {len(p.index)} examples of {task}",
                hint="its weights or activations overflow; a smaller scaling is the usual cure",
            )


def summary(predictions: Mapping[str, Predictions], experts: Mapping[str, float]) -> dict[str, float]:
    """The metrics of predictions: per task and their unweighted mean over tasks.

    ``accuracy/<task>`` is what the task is scored by, which is accuracy where it does not say otherwise; another metric
    is there under its own name as well. Losses and calibration are of the tasks that have them, their means too.
    ``normalized/<task>`` is relative to the task's expert; where there is none, or one that scores nothing or less,
    there is no value, and then no mean.
    """
    found: dict[str, dict[str, float]] = {"accuracy": {}, "loss": {}, "calibration_error": {}}
    named = measured(predictions)
    for task, p in predictions.items():
        prediction, label = torch.from_numpy(p.prediction), torch.from_numpy(p.label)
        found["accuracy"][task] = p.value if p.score is not None else accuracy(prediction, label)
        if p.loss is not None:
            found["loss"][task] = float(p.loss.mean())
        if p.confidence is not None:
            found["calibration_error"][task] = calibration_error(torch.from_numpy(p.confidence), prediction == label)
    above = {task: value for task, value in found["accuracy"].items() if experts.get(task, 0) > 0}
    found["normalized"] = normalized_accuracy(above, experts)
    for metric, values in found.items():
        named |= {f"{metric}/{task}": value for task, value in values.items()}
        # relative to some experts only it would be no mean over the tasks
        if values and (metric != "normalized" or len(values) == len(predictions)):
            named[f"{metric}/mean"] = float(np.mean(list(values.values())))
    return named


def measured(predictions: Mapping[str, Predictions]) -> dict[str, float]:
    """``metric/task`` of what tasks are scored by, where that is not accuracy, and of what they measure beside it."""
    found: dict[str, float] = {}
    for task, p in predictions.items():
        found |= {f"{p.metric}/{task}": p.value} if p.metric != ACCURACY else {}
        found |= {f"{name}/{task}": value for name, value in p.extra.items()}
    return found


def _resumed(store: Any, case: Case, mark: str) -> CaseResult | None:
    run = store.finished(case.experiment, mark)
    if run is None:
        return None
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.client.download_artifacts(run.info.run_id, "report.json", folder)
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (MlflowException, OSError, ValueError):  # the run is there, its files were removed: run the case again
            return None
    return CaseResult.from_dict({**content, "resumed": True}) if content.get("schema") == SCHEMA else None
