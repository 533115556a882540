"""The rows of a leaderboard as the page holds them: methods ranked, bounds among them, each with what it cost."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from statistics import fmean
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
    # without their outcomes: the board would test them itself, and without the sources of older reports
    (board,) = leaderboards([{**run.result, "outcomes": {}} for run in group.newest.values()])
    rows = []
    for row in board.rows:
        family = group.methods.get(row.name)
        interval = row.interval
        if family is not None and family.has_seeds:
            interval = outcomes.interval_of_seeds([run.run_id for run in family.members])
        elif family is not None:
            interval = outcomes.interval(family.members[0].run_id) or row.interval
        letters = standings[row.name].letters if row.name in standings else ""
        rows.append(dataclasses.replace(row, interval=interval, letters=letters))
    return dataclasses.replace(board, rows=tuple(rows))


def rows_of(group: Group, outcomes: Outcomes, standings: Mapping[str, Standing]) -> list[dict[str, Any]]:
    """One JSON object a row, best mean first; accuracies are fractions, ``bits`` None where no outcomes are known.

    A row of a method with several seeds has no bits of its own, but ``members``, one a seed, which are like rows; their
    ``at`` counts on from the last row.
    """
    found = []
    board = board_of(group, outcomes, standings)
    count = len(board.rows)
    for row in board.rows:
        family = group.methods.get(row.name)
        runs = () if family is None else family.members
        members = []
        if len(runs) > 1:
            for run in runs:
                (alone,) = (each for each in leaderboards([{**run.result, "outcomes": {}, "references": {}}])[0].rows)
                alone = dataclasses.replace(alone, interval=outcomes.interval(run.run_id) or alone.interval, rank=None)
                members.append({**_shown(group, alone, run, outcomes), "at": count})
                count += 1
        shown = _shown(group, row, runs[0] if len(runs) == 1 else None, outcomes)
        if members:
            shown["costs"] = _mean_costs(members)
            shown["access"] = members[0]["access"]
        ranks = list(standings[row.name].ranks) if row.name in standings else None
        found.append({**shown, "letters": row.letters, "ranks": ranks, "members": members})
    return found


def _shown(group: Group, row: Row, run: Run | None, outcomes: Outcomes) -> dict[str, Any]:
    from fusion_bench.metrics.intervals import accuracy_intervals

    correct = outcomes.correct.get(run.run_id) if run else None
    per_task = {}
    if correct is not None:
        per_task = accuracy_intervals(correct, level=LEVEL, clusters=outcomes.clusters or None)
    return {
        "name": row.name,
        "kind": row.kind,
        "reference": row.is_reference,
        "rank": row.rank,
        "mean": row.mean,
        "interval": list(row.interval) if row.interval else None,
        "normalized": row.normalized,
        "accuracy": [row.accuracy.get(task) for task in group.tasks],
        "intervals": [list(per_task[task]) if task in per_task else None for task in group.tasks],
        "measures": dict(row.measures),
        "bits": _bits_of(correct, group.tasks),
        **_about(row, run),
    }


def _mean_costs(members: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of several seeds the mean, of those costs that all of them have."""
    known = [key for key, _, _ in COSTS if all(key in member["costs"] for member in members)]
    return {key: fmean(member["costs"][key] for member in members) for key in known}


def _about(row: Row, run: Run | None) -> dict[str, Any]:
    if run is None:  # a bound that was measured along with a case, or several seeds
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


def _bits_of(correct: Mapping[str, np.ndarray] | None, tasks: Sequence[str]) -> list[str] | None:
    """None also where a task has scores: the page itself compares by right and wrong only."""
    if correct is None or any(correct[task].dtype != np.bool_ for task in tasks):
        return None
    return [_bits(correct[task]) for task in tasks]


def _bits(correct: np.ndarray) -> str:
    """Eight examples a byte, the first in the highest bit; base64."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode("ascii")
