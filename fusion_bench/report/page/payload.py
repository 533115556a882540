"""From runs to what the page shows: plain dictionaries, every number of them computed here or in metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_bench.progress import Progress, silent
from fusion_bench.report.page.choice import RULE
from fusion_bench.report.page.examples import examples_of
from fusion_bench.report.page.groups import Group, grouped, split_notes
from fusion_bench.report.page.history import history_of
from fusion_bench.report.page.outcomes import LEVEL, Outcomes, detailed, read_outcomes
from fusion_bench.report.page.panels import Panel
from fusion_bench.report.page.panels.measures import measures
from fusion_bench.report.page.panels.protocols import protocols
from fusion_bench.report.page.panels.published import published
from fusion_bench.report.page.panels.sweeps import sweeps
from fusion_bench.report.page.pictures import Pictures
from fusion_bench.report.page.rows import COSTS, rows_of
from fusion_bench.report.page.runs import Run
from fusion_bench.report.page.sources import sources
from fusion_bench.report.page.standing import groups_in, standings

BITS = 1_500_000  # bytes of packed outcomes that a page carries; further runs cannot be compared in it


@dataclass(frozen=True)
class Payload:
    """``content`` is JSON: ``boards`` and what they share; ``notes`` what a reader must know of the store."""

    content: Mapping[str, Any]
    groups: Sequence[Group]
    outcomes: Sequence[Outcomes]
    notes: Sequence[str]


def build_payload(
    runs: Sequence[Run],
    notes: Sequence[str] = (),
    *,
    extra: Mapping[str, Sequence[Panel]] | None = None,
    progress: Progress = silent,
) -> Payload:
    """All that a page shows but single examples.

    Args:
        runs: any finished runs, in any order.
        notes: of the store, on runs that are not among these.
        extra: further panels by experiment, such as the analysis of a pool.
    """
    from fusion_bench.metrics.variance import critical
    from fusion_bench.report.published import tables

    tables_of_others = list(tables())
    groups, left_out = grouped(runs)
    split = split_notes(groups)
    found, read, all_notes = [], [], [*notes, *left_out]
    room = BITS
    for number, group in enumerate(groups):
        outcomes, said = read_outcomes(group, detailed(group), progress=progress)
        progress("boards", number, len(groups))
        all_notes += said
        board = _board(group, outcomes, f"b{number}", split.get(group.experiment))
        of_experiment = number == [g.experiment for g in groups].index(group.experiment)
        made = (
            measures(board["rows"]),
            protocols(group, outcomes),
            sweeps(group, outcomes),
            published(group, outcomes, tables_of_others),
        )
        panels = [panel for panel in made if panel is not None]
        panels += (extra or {}).get(group.experiment, ()) if of_experiment else ()
        room, dropped = _fit(board, room)
        all_notes += dropped
        found.append({**board, "panels": [panel.to_dict() for panel in panels]})
        read.append(outcomes)
    progress("boards", len(groups), len(groups))
    content = {
        "schema": 1,
        "level": LEVEL,
        "z": float(critical(LEVEL)),
        "choice": RULE,
        "costs": [[key, title] for key, _, title in COSTS],
        "boards": found,
    }
    return Payload(content, groups, read, all_notes)


def examples(payload: Payload, pictures: Pictures, *, room: int) -> tuple[dict[str, Any], list[str]]:
    """Single examples by board, and notes on pictures that are missing.

    Args:
        room: bytes that they may take altogether; boards share it by the number of their runs.
    """
    found: dict[str, Any] = {}
    notes: list[str] = []
    wanted = {i: len(found.predictions) for i, found in enumerate(payload.outcomes) if len(found.predictions) > 1}
    for place, count in wanted.items():
        group, outcomes = payload.groups[place], payload.outcomes[place]
        shown, said = examples_of(group, outcomes, pictures, room=room * count // sum(wanted.values()))
        notes += said
        if shown:
            found[f"b{place}"] = shown
    return found, list(dict.fromkeys(notes))


def _board(group: Group, outcomes: Outcomes, key: str, split: str | None) -> dict[str, Any]:
    rows = rows_of(group, outcomes, standings(group, outcomes))
    lows = [(row["interval"] or [row["mean"]])[0] for row in rows]
    highs = [(row["interval"] or [row["mean"]])[-1] for row in rows]
    return {
        "id": key,
        "title": group.experiment + (f" · examples {group.digest}" if split else ""),
        "experiment": group.experiment,
        "summary": _summary(group, outcomes, rows),
        "split": split,
        "runs": len(group.runs),
        "tasks": list(group.tasks),
        "sizes": [outcomes.sizes.get(task) for task in group.tasks],
        "sources": sources(outcomes.clusters, outcomes.sizes) if outcomes.clusters else {},
        "span": [min(lows), max(highs)],
        "kinds": sorted({row["kind"] for row in rows}),
        "accesses": sorted({", ".join(row["access"]) for row in rows if row["access"]}),
        "rows": rows,
        "history": history_of(group, outcomes),
        "uncompared": None if sum(row["bits"] is not None for row in _with_members(rows)) > 1 else _UNCOMPARED,
    }


_UNCOMPARED = (
    "Fewer than two of these runs say which examples they had right, so that none can be compared here; "
    "where a task is scored otherwise, fusion_bench compare does it."
)


def _summary(group: Group, outcomes: Outcomes, rows: Sequence[Mapping[str, Any]]) -> str:
    methods = [row for row in rows if not row["reference"]]
    bounds = len(rows) - len(methods)
    examples = sum(outcomes.sizes.values())
    text = f"{_count(len(methods), 'method')} and {_count(bounds, 'bound')} on {_count(len(group.tasks), 'task')}"
    text += f", {examples:,} test examples" if examples else ""
    first, last = (f"{run.started:%Y-%m-%d}" for run in (group.runs[-1], group.runs[0]))
    text += f"; {_count(len(group.runs), 'run')}" + (f" from {first} to {last}." if first != last else f" of {first}.")
    if methods:
        best = methods[0]
        text += f" Best: {best['name']}, {100 * best['mean']:.1f} % on the mean over tasks"
        low, high = best["interval"] or (None, None)
        text += f" ({100 * low:.1f} to {100 * high:.1f})" if low is not None and high is not None else ""
        of_best = groups_in(best["letters"])
        rivals = [row["name"] for row in methods[1:] if of_best & groups_in(row["letters"])]
        if rivals:
            text += f", not told apart from {', '.join(rivals[:3])}" + (
                f" and {len(rivals) - 3} more" if len(rivals) > 3 else ""
            )
        text += "."
    metrics = {task: name for run in group.runs for task, name in run.result.get("scored_by", {}).items()}
    return text + "".join(f" {task} is shown as 100 × {metric}." for task, metric in metrics.items())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def _with_members(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each followed by its single seeds where it has several."""
    return [each for row in rows for each in (row, *row["members"])]


def _fit(board: dict[str, Any], room: int) -> tuple[int, list[str]]:
    """Keep the outcomes of as many rows as there is room for, best first; returns the room left and a note."""
    dropped = 0
    for row in _with_members(board["rows"]):
        size = sum(map(len, row["bits"] or ()))
        if size > room:
            row["bits"] = None
            dropped += 1
        else:
            room -= size
    if not dropped:
        return room, []
    note = f"{board['title']}: {_count(dropped, 'run')} too many to be compared within one page; fusion_bench compare"
    return room, [f"{note} compares any two"]
