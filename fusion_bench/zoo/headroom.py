"""``fusion_bench zoo headroom``: does a pool leave room between base and experts, and do the methods fill it in order?

Reads the predictions of the newest finished runs (``pytest bench`` makes them) and writes Markdown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fusion_bench.errors import FusionBenchError
from fusion_bench.metrics import mean_accuracy_interval, paired_difference_interval

if TYPE_CHECKING:
    from fusion_bench.tracking.store import Store

Correct = Mapping[str, np.ndarray]
REFERENCES = ("pretrained", "experts", "multitask")


def newest_predictions(store: Store, experiment: str) -> dict[str, Correct]:
    """Per algorithm (without overrides), per task, which test examples the newest finished run got right."""
    found: dict[str, Correct] = {}
    runs = store.client.search_runs(
        [store.experiment(experiment)], "attributes.status = 'FINISHED'", order_by=["attributes.start_time DESC"]
    )
    for run in runs:
        name = run.info.run_name
        if "[" in name or name in found:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = store.client.download_artifacts(run.info.run_id, "predictions.parquet", folder)
            table = pd.read_parquet(path)
        found[name] = {str(t): (g.label == g.prediction).to_numpy() for t, g in table.groupby("task", sort=False)}
    return found


def scaled(correct: Correct, factors: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Each task's outcomes times a constant, so that intervals of differences come out normalised."""
    return {task: values * factors[task] for task, values in correct.items()}


def criteria(found: Mapping[str, Correct]) -> list[dict[str, Any]]:
    """What the pool must show: for each statement the number, its paired 95 % interval, and whether it holds."""
    missing = {
        "pretrained",
        "experts",
        "multitask",
        "simple_average",
        "task_arithmetic",
        "ties",
        "tsv_m",
        "iso_c",
    } - set(found)
    if missing:
        raise FusionBenchError(f"no finished run of {', '.join(sorted(missing))}", hint="run pytest bench first")
    mean = {name: float(np.mean([v.mean() for v in correct.values()])) for name, correct in found.items()}
    expert = {task: float(values.mean()) for task, values in found["experts"].items()}
    per_expert = {task: 1 / value for task, value in expert.items()}
    elementwise = max(("task_arithmetic", "ties"), key=lambda name: mean[name])
    spectral = max(("tsv_m", "iso_c"), key=lambda name: mean[name])
    low, high = mean_accuracy_interval(found["experts"])
    rows = [_row("experts at least 80 %", mean["experts"], low, high, mean["experts"] >= 0.8 and low > 0.8)]

    def difference(text: str, a: Correct, b: Correct, least: float) -> None:
        value, low, high = paired_difference_interval(a, b)
        rows.append(_row(text, value, low, high, value >= least and low > 0))

    constant = dict.fromkeys(expert, 0.65)
    difference("65 % of the experts minus base, above 0", scaled(found["experts"], constant), found["pretrained"], 0.0)
    difference("simple average minus base, at least 3 points", found["simple_average"], found["pretrained"], 0.03)
    difference(f"{elementwise} minus simple average, above 0", found[elementwise], found["simple_average"], 0.0)
    difference(
        f"{spectral} minus simple average, normalised by the experts, at least 5 points",
        scaled(found[spectral], per_expert), scaled(found["simple_average"], per_expert), 0.05,
    )  # fmt: skip
    value, low, high = paired_difference_interval(found["experts"], found["multitask"])
    rows.append(_row("experts minus multi-task model, at most 5 points", value, low, high, value <= 0.05))
    return rows


def _row(text: str, value: float, low: float, high: float, holds: bool) -> dict[str, Any]:
    return {"statement": text, "value": value, "low": low, "high": high, "holds": bool(holds)}


def markdown(found: Mapping[str, Correct]) -> str:
    """Two tables: every method on every task, and the criteria."""
    tasks = list(next(iter(found.values())))
    mean = {name: float(np.mean([v.mean() for v in correct.values()])) for name, correct in found.items()}
    lines = [
        f"| method | mean | 95 % interval | {' | '.join(tasks)} |",
        f"| --- | ---: | --- |{' ---: |' * len(tasks)}",
    ]
    for name in sorted(found, key=lambda name: -mean[name]):
        low, high = mean_accuracy_interval(found[name])
        cells = " | ".join(f"{100 * found[name][task].mean():.1f}" for task in tasks)
        shown = f"*{name}*" if name in REFERENCES else name
        lines.append(f"| {shown} | {100 * mean[name]:.1f} | {100 * low:.1f} to {100 * high:.1f} | {cells} |")
    lines += ["", "| what must hold | points | paired 95 % interval | holds |", "| --- | ---: | --- | --- |"]
    for row in criteria(found):
        interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        lines.append(
            f"| {row['statement']} | {100 * row['value']:.1f} | {interval} | {'yes' if row['holds'] else '**no**'} |"
        )
    return "\n".join(lines) + "\n"
