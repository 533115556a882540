"""Every algorithm on every pool it fits: fuse, evaluate each task, track. Try ``pytest bench -k ties``."""

from __future__ import annotations

import math


def bench_fusion(case, tracked_run):
    """One case: a number for every task, and none that is not a number."""
    result = tracked_run()

    accuracy = result.accuracy  # per task, a share of right answers unless the task is scored otherwise
    assert accuracy, f"{case.id} evaluated no task"
    assert all(0.0 <= value <= 1.0 for task, value in accuracy.items() if task not in result.scored_by), accuracy
    assert math.isclose(result.metrics["accuracy/mean"], sum(accuracy.values()) / len(accuracy))
    assert all(math.isfinite(value) for value in result.metrics.values()), result.metrics
