"""What stands at the end of a gated session: how many cases are as before, and for the others what to do next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fusion_bench.regression.bisect import for_command
from fusion_bench.regression.diagnosis import common_cause
from fusion_bench.regression.verdict import FAILING, MEAN

Seen = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
COSTLIER = "costlier"


def summary_lines(
    seen: Seen, others: Mapping[str, int], *, updating: bool = False, options: Sequence[str] = ()
) -> list[str]:
    """Lines for the terminal.

    Args:
        seen: the result and the verdict of each case, as dictionaries.
        others: how many cases have no verdict, by what became of them: "could not run", "skipped", "not run".
        options: of the session, that a command to copy needs as well.
    """
    counts = Counter(str(verdict["status"]) for _, verdict in seen)
    order = (*FAILING, "rewritten", "new", "better", "as before")
    names = {"new": "new" if updating else "without a baseline"}
    parts = [f"{counts[status]} {names.get(status, status)}" for status in order if counts[status]]
    lines = ["; ".join(parts + [f"{count} {what}" for what, count in others.items() if count]) or "no case"]
    if updating:
        written = counts["rewritten"] + counts["new"]
        return [*lines, "look at the diff before you commit it" if written else "nothing to write"]
    for status, what in (("new", "give them a baseline"), ("better", "better than the baseline; keep that")):
        cases = [r["case"] for r, v in seen if v["status"] == status]
        if cases:
            lines.append(f"{what}: {_update(cases, options)}")
    alone = [r["case"] for r, v in seen if any(f["kind"] == "unjudged" for f in v.get("findings", ()))]
    if alone:
        lines.append(f"of {len(alone)} only the main trial was judged; for the others: {_update(alone, options)}")
    failing = [(result, verdict) for result, verdict in seen if verdict["status"] in FAILING]
    if not failing:
        return lines
    width = max(len(str(verdict["case"])) for _, verdict in failing)
    for _, verdict in sorted(failing, key=lambda pair: _worst(pair[1])[1]):
        task, moved = _worst(verdict)
        mean = verdict["differences"].get(MEAN, 0.0)
        told = f"mean {100 * mean:+.2f}, {task} {100 * moved:+.2f} points" if task else ""
        lines.append(f"  {verdict['case']:<{width}}  {verdict['status']:<12} {told}")
    cause = common_cause([v["diagnosis"] for _, v in failing], [v["case"] for _, v in failing])
    ids = " ".join(shlex.quote(str(result["case"]["id"])) for result in smallest_set(failing))
    words = " ".join(map(shlex.quote, for_command(options)))
    rerun = f"rerun:  python -m fusion_bench baseline check {words}{' ' if words else ''}{ids}"
    return [*lines, *([cause] if cause else []), rerun]


def heading(seen: Seen, others: Mapping[str, int]) -> str:
    """One line for a job's summary: that all hold is said only where every case was held against something.

    Example:
        >>> heading([({}, {"status": "as before"})], {"could not run": 1})
        '1 of 2 cases hold; 1 could not run'
        >>> heading([({}, {"status": "as before"})], {})
        'All 1 cases hold'
    """
    expected = len(seen) + sum(others.values())
    bad = Counter(str(verdict["status"]) for _, verdict in seen if verdict["status"] in (*FAILING, "new"))
    hold = len(seen) - sum(bad.values())
    if hold == expected and expected:
        return f"All {expected} cases hold"
    names = {"new": "without a baseline"}
    rest = [f"{count} {names.get(what, what)}" for what, count in [*bad.items(), *others.items()] if count]
    return "; ".join([f"{hold} of {expected} cases hold", *rest])


def smallest_set(failing: Seen) -> list[Mapping[str, Any]]:
    """The cheapest case of each diagnosis: who reruns these sees every failure there is, in the least time.

    Those that only cost more come last: seconds of another day are no ground to blame a commit.
    """
    chosen: dict[str, tuple[bool, float, Mapping[str, Any]]] = {}
    for result, verdict in failing:
        seconds = sum(result["metrics"].get(f"cost/{part}_seconds", 0.0) for part in ("search", "fusion", "evaluation"))
        cause = verdict["diagnosis"] or verdict["status"]
        if cause not in chosen or seconds < chosen[cause][1]:
            chosen[cause] = (verdict["status"] == COSTLIER, seconds, result)
    return [result for _, _, result in sorted(chosen.values(), key=lambda entry: entry[:2])]


def _worst(verdict: Mapping[str, Any]) -> tuple[str, float]:
    tasks = {task: moved for task, moved in verdict["differences"].items() if task != MEAN}
    worst = min(tasks, key=lambda task: tasks[task], default="")
    return worst, tasks.get(worst, 0.0)


def _update(cases: Sequence[Mapping[str, Any]], options: Sequence[str]) -> str:
    """The pytest line that makes just these the baselines, with seeds and overrides as they were given."""
    words = ["pytest", "bench", "--update-baseline", "--algorithm", ",".join(sorted({c["algorithm"] for c in cases}))]
    seeds = {c.get("seed") for c in cases} - {None}
    words += ["--seed", str(seeds.pop())] if len(seeds) == 1 else []
    for override in sorted({o for c in cases for o in c.get("overrides", ())}):
        words += ["--override", override]
    return shlex.join([*words, *options])
