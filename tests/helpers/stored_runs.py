"""Runs in a store as a case leaves them, with outcomes that a test chooses, and everything else a store may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fusion_bench.metrics.packing import pack_sources, unpack
from fusion_bench.tracking import Store, TrackedRun


def store_run(
    store: Store,
    result: Mapping[str, Any],
    folder: Path,
    *,
    clusters: Mapping[str, np.ndarray] | None = None,
    session: str = "s1",
    files: Mapping[str, bytes | None] | None = None,
) -> str:
    """Store a result (`tests.helpers.results.make_result`); returns the run's id.

    Args:
        folder: where artifacts are written before they are logged.
        files: contents that replace an artifact; None leaves it out.
    """
    case = result["case"]
    tags = {**result["tags"], "case": case["id"], "kind": result["kind"], "session": session}
    name = case["id"].removesuffix(f"-{case['modelpool']}-{case['taskpool']}")
    parts = []
    for task, outcome in result["outcomes"].items():
        correct = unpack(outcome["correct"], outcome["n"])
        zeros = np.zeros(len(correct), int)
        columns = {"task": task, "index": np.arange(len(correct)), "label": zeros, "prediction": (~correct).astype(int)}
        rest = {"confidence": 0.5, "loss": 1.0, "cluster": (clusters or {}).get(task)}
        parts.append(pd.DataFrame({**columns, **rest}))
    content = {"schema": 1, "interval": [0.1, 0.9], "data_access": ["weights"], **result}
    if clusters and "clusters" in content:  # a report of an older version has none
        content["clusters"] = {task: pack_sources(labels) for task, labels in clusters.items()}
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(parts, ignore_index=True).to_parquet(folder / "predictions.parquet", index=False)
    (folder / "report.json").write_text(json.dumps(content))
    for file, data in (files or {}).items():
        (folder / file).unlink()
        if data is not None:
            (folder / file).write_bytes(data)
    experiment = f"{case['modelpool']}/{case['taskpool']}"
    with TrackedRun(store, experiment, name, tags) as run:
        run.artifacts(folder)
        sizes = {task: outcome["n"] for task, outcome in result["outcomes"].items()}
        run.datasets(result["data"], sizes)
        run.log(result["metrics"], {"algorithm": case["algorithm"]}, {})
    return run.id
