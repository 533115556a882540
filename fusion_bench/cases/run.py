"""Running a case: compose, fuse, evaluate, track. Both doors, pytest and the command line, end here."""

from __future__ import annotations

import importlib
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
from fusion_bench.cases.fingerprint import fingerprint, plugin_hash
from fusion_bench.cases.memory import PeakMemory
from fusion_bench.cases.result import SCHEMA, CaseResult
from fusion_bench.cases.search import Candidates, Search, combinations, grid_search, open_fields
from fusion_bench.cases.session import Bound, Session
from fusion_bench.cases.storage import check_room, keeps, model_bytes
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
    store = session.store  # opened, and found to be writable, before anything is loaded
    _import_libraries(tracked=store is not None)
    opening = time.perf_counter() - began
    config = session.config(case)
    config = {**config, "algorithm": seeded(config["algorithm"], case)}
    algorithm, grid = _algorithm(case, config, session)
    _check_device(case.device)
    loading = time.perf_counter()
    bound = session.bound(case)
    size = model_bytes(bound.modelpool)
    loading = time.perf_counter() - loading + opening
    theirs = plugin_hash([type(algorithm), type(bound.modelpool), type(bound.taskpool)])
    content = (bound.modelpool.content_hash(), bound.taskpool.content_hash())
    mark = fingerprint(config, *content, session.code, theirs, torch.__version__)
    if session.resume and store is not None:
        found = _resumed(store, case, mark)
        if found is not None:
            return found
    if store is not None and store.location.artifacts is not None and keeps(session.save_models, size):
        check_room(store.location.artifacts, size)
    tags = {
        "case": case.id,
        "fingerprint": mark,
        "kind": case.kind,
        "data_access": ", ".join(algorithm.data_access),
        "device": case.device,
        "session": session.name,
        "mlflow.source.name": session.source,
        "mlflow.source.type": "LOCAL",
        **session.provenance,
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
        return record(run, store, result, model, predictions, session, bound, began)


def _import_libraries(*, tracked: bool) -> None:
    """Import now what the first case of a process would import on its way: starting up is loading, not harness."""
    names = ["hydra", "torchmetrics.functional.classification"]
    names += ["matplotlib.figure", "fusion_bench.cases.record"] if tracked else []
    for name in names:
        importlib.import_module(name)


def seeded(fields: Mapping[str, Any], case: Case) -> dict[str, Any]:
    """The algorithm's fields with the seed that was asked for; 0, the default, leaves the YAML's own."""
    typed = any(override.lstrip("+").startswith("algorithm.seed=") for override in case.overrides)
    return {**fields, "seed": case.seed} if "seed" in fields and case.seed and not typed else dict(fields)


def _algorithm(case: Case, config: Mapping[str, Any], session: Session) -> tuple[Algorithm, dict[str, Any]]:
    """The validated algorithm, and the fields that validation data decides."""
    shipped = registry.read_config("algorithm", case.algorithm, config_dir=session.config_dir)
    grid = open_fields(config["algorithm"], case.overrides, shipped)
    fields = config["algorithm"]
    path = registry.config_path("algorithm", case.algorithm, config_dir=session.config_dir)
    where = f"algorithm {case.label!r} ({path})"
    built: Algorithm = registry.build("algorithm", fields, plugins=session.plugins, where=where)
    for values in combinations(grid):  # every one is validated before the first is fused
        registry.build("algorithm", fields, overrides=values, plugins=session.plugins, where=f"{where}, search")
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
    check_finite_losses(predictions)
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

    total, done = len(combinations(grid)), 0
    fused = Candidates(algorithm, bound.modelpool)

    def score(values: dict[str, Any]) -> float:
        nonlocal done
        progress("search on validation", done, total)
        found = evaluate(fused(values), bound.adapters, split="validation", device=case.device)
        done += 1
        progress("search on validation", done, total)
        return float(np.mean([p.accuracy for p in found.values()]))

    search = grid_search(grid, score)
    return dataclasses.replace(algorithm, **search.best), search


def check_finite_losses(predictions: Mapping[str, Predictions]) -> None:
    """Refuse a model whose outputs are not numbers: its accuracy would look like one.

    Raises:
        FusionBenchError: a loss that is NaN or infinite, with the task and how many.
    """
    for task, p in predictions.items():
        wrong = int((~np.isfinite(p.loss)).sum())
        if wrong:
            raise FusionBenchError(
                f"the fused model's outputs are not finite for {wrong} of {len(p.loss)} examples of {task}",
                hint="its weights or activations overflow; a smaller scaling is the usual cure",
            )


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
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.client.download_artifacts(run.info.run_id, "report.json", folder)
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (MlflowException, OSError, ValueError):  # the run is there, its files were removed: run the case again
            return None
    return CaseResult.from_dict({**content, "resumed": True}) if content.get("schema") == SCHEMA else None
