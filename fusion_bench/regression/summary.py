"""What stands at the end of a gated session: how many cases are as before, and for the others what to do next."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.regression.baseline import path_of, read
from fusion_bench.regression.diagnosis import common_cause
from fusion_bench.regression.verdict import FAILING, MEAN

#: Kept by git's checkouts (it is ignored), so that a bisection holds every commit against the same baselines.
BISECT = Path("outputs") / "bisect"

Seen = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]


def summary_lines(seen: Seen, folder: Path, root: Path, *, updating: bool = False) -> list[str]:
    """Lines for the terminal.

    Args:
        seen: the result and the verdict of each case, as dictionaries.
        folder: of the baselines.
        root: of the project; copies for a bisection go below it.
    """
    counts = Counter(str(verdict["status"]) for _, verdict in seen)
    order = (*FAILING, "rewritten", "new", "better", "as before")
    names = {"new": "new" if updating else "without a baseline"}
    lines = ["; ".join(f"{counts[status]} {names.get(status, status)}" for status in order if counts[status])]
    if updating:
        return [*lines, f"written to {folder}: look at the diff before you commit it"]
    if counts["new"]:
        fresh = ",".join(sorted({r["case"]["algorithm"] for r, v in seen if v["status"] == "new"}))
        lines.append(f"give them one: pytest bench --update-baseline --algorithm {fresh}")
    if counts["better"]:
        better = ",".join(sorted({r["case"]["algorithm"] for r, v in seen if v["status"] == "better"}))
        lines.append(f"better than the baseline: {better}; keep that with --update-baseline")
    failing = [(result, verdict) for result, verdict in seen if verdict["status"] in FAILING]
    if not failing:
        return lines
    width = max(len(str(verdict["case"])) for _, verdict in failing)
    for _, verdict in sorted(failing, key=lambda pair: pair[1]["differences"].get(MEAN, 0.0)):
        mean = verdict["differences"].get(MEAN)
        moved = "" if mean is None else f"{100 * mean:+6.2f} points in the mean"
        lines.append(f"  {verdict['case']:<{width}}  {verdict['status']:<12} {moved}")
    cause = common_cause([v["diagnosis"] for _, v in failing], [v["case"] for _, v in failing])
    lines += [cause] if cause else []
    return lines + what_next(failing, folder, root)


def smallest_set(failing: Seen) -> list[Mapping[str, Any]]:
    """The cheapest case of each diagnosis: who reruns these sees every failure there is, in the least time."""
    chosen: dict[str, tuple[float, Mapping[str, Any]]] = {}
    for result, verdict in failing:
        seconds = sum(result["metrics"].get(f"cost/{part}_seconds", 0.0) for part in ("search", "fusion", "evaluation"))
        cause = verdict["diagnosis"] or verdict["status"]
        if cause not in chosen or seconds < chosen[cause][0]:
            chosen[cause] = (seconds, result)
    return [result for _, result in chosen.values()]


def what_next(failing: Seen, folder: Path, root: Path) -> list[str]:
    """The command that reruns the smallest set, and a ``git bisect run`` line for its first case."""
    chosen = smallest_set(failing)
    ids = [str(result["case"]["id"]) for result in chosen]
    lines = ["rerun:  python -m fusion_bench baseline check " + " ".join(map(shlex.quote, ids))]
    first = chosen[0]
    good, bad = _good(folder, first), str(first.get("tags", {}).get("commit", ""))
    if not good or not bad or good.rstrip("+") == bad.rstrip("+"):
        return lines
    try:
        source = path_of(folder, first["case"])
        kept = path_of(root / BISECT, first["case"])
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, kept)
    except OSError:
        return lines  # a checkout that cannot be written cannot be bisected either
    check = f"python -m fusion_bench baseline check --baselines {BISECT.as_posix()} {shlex.quote(ids[0])}"
    dirty = " (commit or stash your changes first)" if bad.endswith("+") else ""
    start = f"git bisect start {bad[:12].rstrip('+')} {good[:12].rstrip('+')}"
    return [*lines, f"bisect{dirty}:  {start} && git bisect run {check}; git bisect reset"]


def _good(folder: Path, result: Mapping[str, Any]) -> str:
    try:
        return read(path_of(folder, result["case"])).commit
    except FusionBenchError:
        return ""
