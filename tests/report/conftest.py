"""Made-up results: eight tasks, three reference rows, names as long as they come."""

from __future__ import annotations

from typing import Any

import pytest

TASKS = ("mnist", "fashion", "kuzushiji", "emnist_letters", "fonts", "icons", "emoji", "quickdraw_animals")


def make_result(name: str, kind: str, mean: float, *, spread: float = 0.1, **case: Any) -> dict[str, Any]:
    """A result whose accuracies differ by task and have exactly the mean asked for."""
    offsets = [spread * (2 * i / (len(TASKS) - 1) - 1) for i in range(len(TASKS))]
    accuracy = {task: mean + offset for task, offset in zip(TASKS, offsets, strict=True)}
    metrics = {f"accuracy/{task}": value for task, value in accuracy.items()}
    metrics |= {"accuracy/mean": mean, "normalized/mean": mean / 0.84}
    metrics |= {"cost/fusion_seconds": 0.5, "cost/evaluation_seconds": 1.25, "cost/peak_memory_mb": 812.4}
    return {
        "case": {
            "algorithm": name,
            "modelpool": "clip_mini",
            "taskpool": "mini8",
            "overrides": [],
            "seed": None,
            **case,
        },
        "kind": kind,
        "data_access": ["weights"],
        "tasks": list(TASKS),
        "metrics": metrics,
        "interval": [mean - 0.012, mean + 0.012],
    }


@pytest.fixture
def results() -> list[dict[str, Any]]:
    """Worst first, so that a leaderboard that does not sort shows it."""
    return [
        make_result("pretrained", "reference", 0.55),
        make_result("simple_average", "merging", 0.60),
        make_result("dare_task_arithmetic", "merging", 0.61),
        make_result("ties", "merging", 0.62, spread=0.2),
        make_result("iso_c", "merging", 0.68),
        make_result("experts", "reference", 0.84),
    ]
