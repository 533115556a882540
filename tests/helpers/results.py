"""Results as `CaseResult.to_dict` gives them, of two tasks, with outcomes that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion_bench.metrics.packing import pack, pack_sources

TASKS = ("a", "b")


def right(n: int, accuracy: float) -> np.ndarray:
    """Outcomes of which the first are right."""
    return np.arange(n) < round(n * accuracy)


def outcomes(correct: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """As in a report; the digest is of the outcomes themselves."""
    return {task: {"n": len(v), "correct": pack(v), "predictions": pack(v)[:32]} for task, v in correct.items()}


def make_result(
    correct: Mapping[str, np.ndarray] | None = None,
    *,
    label: str = "ties",
    base: Mapping[str, np.ndarray] | None = None,
    experts: Mapping[str, np.ndarray] | None = None,
    config: Mapping[str, Any] | None = None,
    data: Mapping[str, str] | None = None,
    costs: Mapping[str, float] | None = None,
    machine: str = "m",
    commit: str = "c0ffee",
    deterministic: bool = True,
    seed: int | None = None,
    clusters: Mapping[str, np.ndarray] | None = None,
    trials: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    plugins: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A result of the case ``<label>-p-t``.

    Args:
        seed: of a method with chance in it; all seeds of a label are one method.
        trials: of a protocol, by name, beside the main one.
    """
    correct = correct or {"a": right(400, 0.75), "b": right(300, 0.5)}
    base = base or {task: right(len(v), 0.3) for task, v in correct.items()}
    experts = experts or {task: right(len(v), 0.9) for task, v in correct.items()}
    accuracy = {f"accuracy/{task}": float(v.mean()) for task, v in correct.items()}
    labelled = label if seed is None else f"{label}[seed={seed}]"
    drawn = {} if seed is None else {"seed": seed}
    config = dict(config or {"algorithm": {"scaling": 0.3, **drawn}})
    tried = [{"name": "main", "group": "main", "accuracy": {task: float(v.mean()) for task, v in correct.items()}}]
    for trial, found in (trials or {}).items():
        means = {task: float(v.mean()) for task, v in found.items()}
        own = {"outcomes": outcomes(found), "data": dict.fromkeys(found, f"d {trial}")}
        tried.append({"name": trial, "group": "others", "accuracy": means, **own})
    costs = costs or {"fusion_ratio": 100.0, "fusion_seconds": 1.0, "fusion_memory_mb": 50.0}
    return {
        "case": {
            "id": f"{labelled}-p-t",
            "algorithm": label.partition("[")[0],
            "modelpool": "p",
            "taskpool": "t",
            "overrides": [],
            "seed": seed,
            "device": "cpu",
        },
        "kind": "merging",
        "deterministic": deterministic,
        "tasks": list(correct),
        "metrics": {
            **accuracy,
            "accuracy/mean": float(np.mean(list(accuracy.values()))),
            **{f"cost/{name}": value for name, value in costs.items()},
        },
        "outcomes": outcomes(correct),
        "references": {
            "pretrained": {task: float(v.mean()) for task, v in base.items()},
            "experts": {task: float(v.mean()) for task, v in experts.items()},
        },
        "reference_outcomes": {"pretrained": outcomes(base), "experts": outcomes(experts)},
        "data": dict(data or dict.fromkeys(correct, "d")),
        "clusters": {task: pack_sources(v) for task, v in (clusters or {}).items()},
        "config": config,
        "fingerprint": "f" if seed is None else f"f{seed}",
        "seedless": "" if seed is None else f"{label} without a seed",
        "trials": tried if trials else [],
        "plugins": dict(plugins or {}),
        "tags": {"commit": commit, "versions": '{"torch": "2.14"}', "machine": machine},
    }
