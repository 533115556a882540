"""What a finished case leaves in its run: metrics and parameters in one batch, artifacts, the model."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fusion_bench import registry
from fusion_bench.cases.result import CaseResult
from fusion_bench.cases.session import Bound, Session
from fusion_bench.cases.storage import is_new, keeps, model_bytes
from fusion_bench.cases.trial_files import write_trials
from fusion_bench.metrics.predictions import Predictions
from fusion_bench.tracking.run import TrackedRun, flat
from fusion_bench.tracking.view import save_view

#: Keys that say which cases there are, not what this one did: constant columns in the UI.
_UNLOGGED = registry.DESCRIPTION - {"type", "kind"}

if TYPE_CHECKING:
    from torch import nn

    from fusion_bench.cases.trials import Finished
    from fusion_bench.modelpools.base import ModelPool
    from fusion_bench.tracking.store import Store


def record(
    run: TrackedRun,
    store: Store,
    result: CaseResult,
    model: nn.Module,
    predictions: Mapping[str, Predictions],
    finished: Finished,
    session: Session,
    bound: Bound,
    began: float,
) -> CaseResult:
    """Log everything; returns the result with the harness's own time filled in.

    Args:
        began: when the case began (`time.perf_counter`). What was neither loading, searching, fusing nor evaluating
            since then is the harness's time, but for the last two calls, which store it.
    """
    adapters = bound.adapters
    save_view(store, f"{result.case['modelpool']}/{result.case['taskpool']}", result.tasks)
    with tempfile.TemporaryDirectory(prefix="fusion_bench-") as name:
        folder = Path(name)
        table(predictions).to_parquet(folder / "predictions.parquet", index=False)
        kept, rivals = _keeping(store, result, model, session, bound.modelpool)
        if kept:
            bound.modelpool.save(model, folder / "model")
        _figure(result, folder)
        write_trials(finished, folder, f"{result.case['algorithm']}, {result.case['taskpool']}")
        run.artifacts(folder)
    run.datasets(
        {task: adapters[task].data_hash("test") for task in predictions},
        {task: adapters[task].size("test") for task in predictions},
    )
    headline: dict[str, float] = {
        name: result.metrics[name] for name in ("accuracy/mean", "normalized/mean") if name in result.metrics
    }
    run.model(result.case["algorithm"], headline, {"kind": result.kind})
    work = sum(
        result.metrics[f"cost/{part}_seconds"] for part in ("loading", "search", "fusion", "evaluation", "protocol")
    )
    spent = time.perf_counter() - began - work
    result = dataclasses.replace(result, metrics={**result.metrics, "cost/harness_seconds": spent})
    with tempfile.TemporaryDirectory(prefix="fusion_bench-") as name:
        (Path(name) / "report.json").write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
        run.artifacts(Path(name))
    config = {k: v for k, v in result.config.items() if k not in registry.GROUPS}
    for group in registry.GROUPS:
        config[group] = {k: v for k, v in result.config[group].items() if k not in _UNLOGGED}
    params = {**flat(config), **{group: result.case[group] for group in registry.GROUPS}}
    known = {name: result.tags[name] for name in ("precision", "placement", "weights_dtype")}
    tags = {"mlflow.note.content": note(result), "data_access": ", ".join(result.data_access), **known}
    run.log(result.metrics, {**params, **known}, {**tags, "model": "kept"} if kept else tags)
    for rival in rivals:
        store.remove_artifacts(rival, "model")
        store.client.set_tag(rival, "model", f"given up for {run.id}")
    return result


def table(predictions: Mapping[str, Predictions]) -> pd.DataFrame:
    """Every evaluated example: task, index, label, prediction, confidence, loss, cluster (empty where none).

    With ``score`` where a task is scored by anything but right and wrong: what an example adds to its metric.
    """
    scores = any(p.score is not None for p in predictions.values())
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "task": task,
                    "index": p.index,
                    "label": p.label,
                    "prediction": p.prediction,
                    "confidence": np.nan if p.confidence is None else p.confidence,
                    "loss": np.nan if p.loss is None else p.loss,
                    "cluster": p.cluster,
                    **({"score": np.nan if p.score is None else p.score} if scores else {}),
                }
            )
            for task, p in predictions.items()
        ],
        ignore_index=True,
    )


def _keeping(
    store: Store, result: CaseResult, model: nn.Module, session: Session, pool: ModelPool
) -> tuple[bool, list[str]]:
    """Whether the fused model is written, and the runs whose model it takes the place of ("best" only)."""
    if not (is_new(model, pool) and keeps(session.save_models, model_bytes(pool))):
        return False, []
    if session.save_models != "best":
        return True, []
    earlier = store.with_model(f"{result.case['modelpool']}/{result.case['taskpool']}", session.name)
    mine = result.metrics["accuracy/mean"]
    if any(run.data.metrics["accuracy/mean"] >= mine for run in earlier):
        return False, []
    return True, [run.info.run_id for run in earlier]


def note(result: CaseResult) -> str:
    """The run's description in the UI."""
    metrics = result.metrics
    low, high = result.interval or (float("nan"),) * 2
    what = "score" if result.scored_by else "accuracy"
    lines = [
        f"**{metrics['accuracy/mean']:.1%}** mean {what} (95 % interval {low:.1%} to {high:.1%})"
        + (f", {metrics['normalized/mean']:.1%} of the experts" if "normalized/mean" in metrics else ""),
        "",
        "| task | accuracy | of the expert | loss |",
        "| --- | ---: | ---: | ---: |",
    ]
    for task in result.tasks:
        share = metrics.get(f"normalized/{task}")
        of = "" if share is None else f"{share:.1%}"
        loss = metrics.get(f"loss/{task}")
        by = f" ({result.scored_by[task]})" if task in result.scored_by else ""
        shown = "" if loss is None else f"{loss:.3f}"
        lines.append(f"| {task}{by} | {metrics[f'accuracy/{task}']:.1%} | {of} | {shown} |")
    if result.search:
        best = ", ".join(f"{k} = {v}" for k, v in result.search["best"].items())
        lines += ["", f"Chosen on the validation split: {best}."]
    return "\n".join(lines)


def _figure(result: CaseResult, folder: Path) -> None:
    from fusion_bench.report.plots import case_figure

    base, experts = result.references["pretrained"], result.references["experts"]
    case_figure(result.to_dict(), base=base, experts=experts).savefig(folder / "accuracy.png", dpi=110)
