"""The rows of a leaderboard as the page holds them: methods ranked, bounds among them, each with what it cost."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion_bench.report.leaderboard import Board, Row, leaderboards
from fusion_bench.report.page.groups import Group
from fusion_bench.report.page.outcomes import LEVEL, Outcomes
from fusion_bench.report.page.runs import Run, commit_of
from fusion_bench.report.page.standing import Standing

#: What a row says about costs: the key of the payload, the metric, its title.
COSTS = (
    ("fusion", "cost/fusion_seconds", "fusion, s"),
    ("search", "cost/search_seconds", "search, s"),
    ("evaluation", "cost/evaluation_seconds", "evaluation, s"),
    ("memory", "cost/peak_memory_mb", "peak memory, MB"),
    ("parameters", "cost/stored_parameters", "stored parameters"),
    ("examples", "cost/examples_seen", "examples seen"),
)


def board_of(group: Group, outcomes: Outcomes, standings: Mapping[str, Standing]) -> Board:
    """The leaderboard of the newest run of each method, with intervals and letters that count examples by source."""
    # without their outcomes: the board would test them itself, and as if every example stood alone
    (board,) = leaderboards([{**run.result, "outcomes": {}} for run in group.newest.values()])
    rows = []
    for row in board.rows:
        run = group.newest.get(row.name)
        interval = (outcomes.interval(run.run_id) if run else None) or row.interval
        letters = standings[row.name].letters if row.name in standings else ""
        rows.append(dataclasses.replace(row, interval=interval, letters=letters))
    return dataclasses.replace(board, rows=tuple(rows))


def rows_of(group: Group, outcomes: Outcomes, standings: Mapping[str, Standing]) -> list[dict[str, Any]]:
    """One JSON object a row, best mean first; accuracies are fractions, ``bits`` None where no outcomes are known."""
    from fusion_bench.metrics.intervals import accuracy_intervals

    found = []
    for row in board_of(group, outcomes, standings).rows:
        run = group.newest.get(row.name)
        correct = outcomes.correct.get(run.run_id) if run else None
        per_task = {}
        if correct is not None:
            per_task = accuracy_intervals(correct, level=LEVEL, clusters=outcomes.clusters or None)
        found.append(
            {
                "name": row.name,
                "kind": row.kind,
                "reference": row.is_reference,
                "rank": row.rank,
                "letters": row.letters,
                "ranks": list(standings[row.name].ranks) if row.name in standings else None,
                "mean": row.mean,
                "interval": list(row.interval) if row.interval else None,
                "normalized": row.normalized,
                "accuracy": [row.accuracy.get(task) for task in group.tasks],
                "intervals": [list(per_task[task]) if task in per_task else None for task in group.tasks],
                "bits": None if correct is None else [_bits(correct[task]) for task in group.tasks],
                **_about(row, run),
            }
        )
    return found


def _about(row: Row, run: Run | None) -> dict[str, Any]:
    if run is None:  # a bound that was measured along with a case
        return {"access": list(row.data_access), "costs": {}, "run": None}
    metrics = run.result["metrics"]
    return {
        "access": list(row.data_access),
        "costs": {key: metrics[metric] for key, metric, _ in COSTS if metric in metrics},
        "run": {
            "id": run.run_id,
            "started": run.started.strftime("%Y-%m-%d %H:%M"),
            "commit": commit_of(run),
            "session": run.tags.get("session", ""),
            "device": str(run.result["case"].get("device", "")),
            "settings": _settings(run),
        },
    }


def _settings(run: Run) -> dict[str, str]:
    """What two runs may differ in: the algorithm's options, seed, device, machine and versions."""
    import json

    config = run.result.get("config") or {}
    algorithm = config.get("algorithm") or {}
    found = {
        f"algorithm.{name}": json.dumps(value, ensure_ascii=False)
        for name, value in algorithm.items()
        if name not in ("search", "kind", "default", "needs")
    }
    found |= {name: str(config[name]) for name in ("seed", "device") if name in config}
    found |= {"commit": commit_of(run), "machine": run.tags.get("machine", "")}
    return {**found, **versions_of(run)}


def versions_of(run: Run) -> dict[str, str]:
    """Versions of Python and the libraries, by name; empty where the run does not say."""
    import json

    try:
        found = json.loads(run.tags.get("versions", "{}"))
    except json.JSONDecodeError:
        return {}
    return {str(name): str(version) for name, version in found.items()} if isinstance(found, dict) else {}


def _bits(correct: np.ndarray) -> str:
    """Eight examples a byte, the first in the highest bit; base64."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode("ascii")
