"""What a finished case leaves in its run: metrics and parameters in one batch, artifacts, the model."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fusion_bench.cases.result import CaseResult
from fusion_bench.cases.session import Bound, Session
from fusion_bench.models.ensemble import Ensemble, TaskRouted
from fusion_bench.taskpools.evaluate import Predictions
from fusion_bench.tracking.run import TrackedRun, flat

if TYPE_CHECKING:
    from torch import nn

#: Models below this many parameters are kept without being asked for.
_SMALL = 12_000_000


def record(
    run: TrackedRun,
    result: CaseResult,
    model: nn.Module,
    predictions: Mapping[str, Predictions],
    session: Session,
    bound: Bound,
    began: float,
) -> CaseResult:
    """Log everything; returns the result with the harness's own time filled in."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fusion_bench-") as name:
        folder = Path(name)
        table(predictions).to_parquet(folder / "predictions.parquet", index=False)
        if keeps_model(model, session.save_models):
            bound.modelpool.save(model, folder / "model")
        _figure(result, bound, folder)
        adapters = bound.adapters
        run.datasets(
            {task: adapters[task].data_hash("test") for task in predictions},
            {task: adapters[task].size("test") for task in predictions},
        )
        spent = result.metrics["cost/harness_seconds"] + time.perf_counter() - started
        result = dataclasses.replace(result, metrics={**result.metrics, "cost/harness_seconds": spent})
        (folder / "report.json").write_text(json.dumps(result.to_dict(), indent=1) + "\n")
        run.artifacts(folder)
    params = flat({key: {k: v for k, v in part.items() if k != "search"} if isinstance(part, dict) else part
                   for key, part in result.config.items()})  # fmt: skip
    run.log(result.metrics, {**params, "algorithm": result.case["algorithm"]}, {"mlflow.note.content": note(result)})
    headline: dict[str, float] = {
        name: result.metrics[name] for name in ("accuracy/mean", "normalized/mean") if name in result.metrics
    }
    run.model(result.case["algorithm"], headline, {"kind": result.kind})
    return result


def table(predictions: Mapping[str, Predictions]) -> pd.DataFrame:
    """Every evaluated example: task, index, label, prediction, confidence, loss."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "task": task,
                    "index": p.index,
                    "label": p.label,
                    "prediction": p.prediction,
                    "confidence": p.confidence,
                    "loss": p.loss,
                }
            )
            for task, p in predictions.items()
        ],
        ignore_index=True,
    )


def keeps_model(model: nn.Module, save_models: str | None) -> bool:
    """Whether the fused model is written: one model of the pool's architecture, small or asked for."""
    if isinstance(model, Ensemble | TaskRouted) or save_models == "none":
        return False  # their members are the pool's own files
    return save_models == "all" or sum(p.numel() for p in model.parameters()) < _SMALL


def note(result: CaseResult) -> str:
    """The run's description in the UI."""
    metrics = result.metrics
    low, high = result.interval or (float("nan"),) * 2
    lines = [
        f"**{metrics['accuracy/mean']:.1%}** mean accuracy (95 % interval {low:.1%} to {high:.1%})"
        + (f", {metrics['normalized/mean']:.1%} of the experts" if "normalized/mean" in metrics else ""),
        "",
        "| task | accuracy | of the expert | loss |",
        "| --- | ---: | ---: | ---: |",
    ]
    for task in result.tasks:
        share = metrics.get(f"normalized/{task}")
        of = "" if share is None else f"{share:.1%}"
        lines.append(f"| {task} | {metrics[f'accuracy/{task}']:.1%} | {of} | {metrics[f'loss/{task}']:.3f} |")
    if result.search:
        best = ", ".join(f"{k} = {v}" for k, v in result.search["best"].items())
        lines += ["", f"Chosen on the validation split: {best}."]
    return "\n".join(lines)


def _figure(result: CaseResult, bound: Bound, folder: Path) -> None:
    from fusion_bench.report.plots import case_figure

    base = _accuracies(bound, dict.fromkeys(result.tasks, "base"))
    experts = _accuracies(bound, {task: task for task in result.tasks})
    figure = case_figure(result.to_dict(), base=base, experts=experts)
    figure.savefig(folder / "accuracy.png", dpi=110, bbox_inches="tight")


def _accuracies(bound: Bound, models: Mapping[str, str]) -> dict[str, float]:
    """From the logits that the session keeps of the pool's own models."""
    found = {}
    for task, name in models.items():
        logits = bound.cache.logits.get((name, task, "test"))
        if logits is not None:
            found[task] = float((logits.argmax(1) == bound.adapters[task].labels("test")).double().mean())
    return found
