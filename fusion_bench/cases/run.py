"""Running a case: compose, fuse, evaluate, track. Both doors, pytest and the command line, end here."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fusion_bench import registry
from fusion_bench.cases.case import Case
from fusion_bench.cases.fingerprint import fingerprint
from fusion_bench.cases.memory import PeakMemory
from fusion_bench.cases.provenance import provenance
from fusion_bench.cases.result import CaseResult
from fusion_bench.cases.search import Search, grid_search, open_fields
from fusion_bench.cases.session import Bound, Session
from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import accuracy, calibration_error, mean_accuracy_interval, normalized_accuracy
from fusion_bench.progress import Progress, silent
from fusion_bench.taskpools.evaluate import Predictions, evaluate

if TYPE_CHECKING:
    from torch import nn

    from fusion_bench.algorithms.base import Algorithm


def run_case(case: Case, session: Session | None = None, progress: Progress = silent) -> CaseResult:
    """Fuse, evaluate on the test split, and leave one tracked run.

    Args:
        case: what to run.
        session: what is shared between cases; None opens one for this case alone.
        progress: told of every stage.

    Raises:
        FusionBenchError: whatever a user can mend, before work starts where that can be seen.
    """
    if session is None:
        with Session() as own:
            return run_case(case, own, progress)
    began = time.perf_counter()
    progress("prepare", 0, 1)
    config = session.config(case)
    algorithm, grid = _algorithm(case, config, session)
    _check_device(case.device)
    loading = time.perf_counter()
    bound = session.bound(case)
    loading = time.perf_counter() - loading
    mark = fingerprint(config, bound.modelpool.content_hash(), bound.taskpool.content_hash(), session.code)
    store = session.store
    if session.resume and store is not None:
        found = _resumed(store, case, mark)
        if found is not None:
            return found
    tags = {
        "case": case.id,
        "fingerprint": mark,
        "kind": case.kind,
        "data_access": ", ".join(algorithm.data_access),
        "device": case.device,
        "session": session.name,
        "mlflow.source.name": session.source,
        "mlflow.source.type": "LOCAL",
        **provenance(),
    }
    if store is None:
        return _compute(case, session, bound, algorithm, grid, config, mark, tags, progress, began, loading)[0]

    from fusion_bench.cases.record import record
    from fusion_bench.tracking.run import TrackedRun
    from fusion_bench.tracking.sweep import process_tags

    with TrackedRun(store, case.experiment, case.label, {**tags, **process_tags()}) as run:
        result, model, predictions = _compute(
            case, session, bound, algorithm, grid, config, mark, tags, progress, began, loading, run_id=run.id
        )
        return record(run, result, model, predictions, session, bound, began)


def _algorithm(case: Case, config: Mapping[str, Any], session: Session) -> tuple[Algorithm, dict[str, Any]]:
    """The validated algorithm, and the fields that validation data decides."""
    grid = open_fields(config["algorithm"], case.overrides)
    fields = dict(config["algorithm"])
    if "seed" in fields and not any(o.startswith("algorithm.seed=") for o in case.overrides):
        fields["seed"] = case.seed
    built: Algorithm = registry.build("algorithm", fields, plugins=session.plugins)
    for name, values in grid.items():
        for value in values:
            registry.build("algorithm", fields, overrides={name: value}, plugins=session.plugins)
    return built, grid


def _compute(
    case: Case,
    session: Session,
    bound: Bound,
    algorithm: Algorithm,
    grid: dict[str, Any],
    config: dict[str, Any],
    mark: str,
    tags: dict[str, str],
    progress: Progress,
    began: float,
    loading: float,
    run_id: str | None = None,
) -> tuple[CaseResult, nn.Module, dict[str, Predictions]]:
    pool, adapters = bound.modelpool, bound.adapters
    start = time.perf_counter()
    for adapter in adapters.values():  # text heads and decoded images belong to loading, once a session
        adapter.size("test")
    base, experts = session.references(case, progress)
    loading += time.perf_counter() - start
    with PeakMemory() as memory:
        searching, search = 0.0, None
        if grid:
            start = time.perf_counter()
            algorithm, search = _search(case, session, bound, algorithm, grid, progress)
            searching = time.perf_counter() - start
        start = time.perf_counter()
        progress("fuse", 0, 1)
        model = algorithm.run(pool, progress=progress)
        fusing = time.perf_counter() - start
        bound.register()
        start = time.perf_counter()
        predictions = evaluate(model, adapters, progress=progress, cache=bound.cache, device=case.device)
        evaluating = time.perf_counter() - start
    metrics = summary(predictions, {task: p.accuracy for task, p in experts.items()})
    metrics |= {
        "cost/fusion_seconds": fusing,
        "cost/search_seconds": searching,
        "cost/evaluation_seconds": evaluating,
        "cost/loading_seconds": loading,
        "cost/peak_memory_mb": memory.peak / 1e6,
        "cost/stored_parameters": float(_stored(model)),
        "cost/examples_seen": float(sum(adapters[t].size("validation") for t in adapters) if search else 0),
        "cost/harness_seconds": time.perf_counter() - began - fusing - searching - evaluating - loading,
    }
    final = {**config, "algorithm": {**config["algorithm"], **(search.best if search else {})}}
    result = CaseResult(
        case={
            "algorithm": case.algorithm,
            "modelpool": case.modelpool,
            "taskpool": case.taskpool,
            "overrides": list(case.overrides),
            "seed": case.seed,
            "device": case.device,
            "id": case.id,
        },
        kind=case.kind,
        tasks=list(predictions),
        metrics=metrics,
        interval=list(mean_accuracy_interval({task: p.correct for task, p in predictions.items()})),
        data_access=list(algorithm.data_access) + (["labels (validation)"] if search else []),
        config=final,
        fingerprint=mark,
        tags=tags,
        references={
            name: {task: p.accuracy for task, p in found.items()}
            for name, found in (("pretrained", base), ("experts", experts))
        },
        search=search.to_dict() if search else {},
        run_id=run_id,
    )
    return result, model, predictions


def _search(
    case: Case, session: Session, bound: Bound, algorithm: Algorithm, grid: dict[str, Any], progress: Progress
) -> tuple[Algorithm, Search]:
    """The algorithm with the values that do best on the validation split."""
    import dataclasses

    total, done = int(np.prod([len(values) for values in grid.values()])), 0

    def score(values: dict[str, Any]) -> float:
        nonlocal done
        progress("search on validation", done, total)
        candidate = dataclasses.replace(algorithm, **values)
        model = candidate.run(bound.modelpool)
        found = evaluate(model, bound.adapters, split="validation", device=case.device)
        done += 1
        progress("search on validation", done, total)
        return float(np.mean([p.accuracy for p in found.values()]))

    search = grid_search(grid, score)
    return dataclasses.replace(algorithm, **search.best), search


def summary(predictions: Mapping[str, Predictions], experts: Mapping[str, float]) -> dict[str, float]:
    """The metrics of predictions: per task and their unweighted mean over tasks."""
    found: dict[str, dict[str, float]] = {"accuracy": {}, "loss": {}, "calibration_error": {}}
    for task, p in predictions.items():
        prediction, label = torch.from_numpy(p.prediction), torch.from_numpy(p.label)
        found["accuracy"][task] = accuracy(prediction, label)
        found["loss"][task] = float(p.loss.mean())
        found["calibration_error"][task] = calibration_error(torch.from_numpy(p.confidence), prediction == label)
    if set(experts) >= set(predictions):
        found["normalized"] = normalized_accuracy(found["accuracy"], experts)
    return {
        f"{metric}/{name}": value
        for metric, values in found.items()
        for name, value in {**values, "mean": float(np.mean(list(values.values())))}.items()
    }


def _stored(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise FusionBenchError(f"unknown device {device!r}", hint="cpu, cuda, cuda:1, mps") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise FusionBenchError(f"device {device!r}: torch sees no GPU here", hint="leave out --device, or use cpu")


def _resumed(store: Any, case: Case, mark: str) -> CaseResult | None:
    run = store.finished(case.experiment, mark)
    if run is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.client.download_artifacts(run.info.run_id, "report.json", folder)
            content = json.loads(Path(path).read_text())
        except Exception:  # the run is there but its files are not: run the case again
            return None
    return CaseResult.from_dict({**content, "resumed": True})
