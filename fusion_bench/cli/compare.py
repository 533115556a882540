"""``fusion_bench compare A B``: whether two runs differ, task by task, or two sessions, case by case."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from fusion_bench.report.comparison import Comparison, Line, OtherMeasure
    from fusion_bench.tracking.records import Record

_DESCRIPTION = """\
Two runs on the same examples: the difference on each task and in the mean, with 95 % intervals, exact tests, and
p-values corrected over the lines shown (Holm). Where A and B are several runs each, one line for each case of both.

  fusion_bench compare ties slerp
  fusion_bench compare ties@1 ties                      the last run of ties against the one before
  fusion_bench compare session:8d1f session:2ab3        two sessions, case by case
  fusion_bench compare commit:8b1e77c commit:1f3c2a9
"""


def main(arguments: Sequence[str]) -> int:
    """Run ``fusion_bench compare``; returns the exit status."""
    from fusion_bench.tracking.finding import HELP, find, find_seeds
    from fusion_bench.tracking.location import locate_store
    from fusion_bench.tracking.records import read_records

    parser = argparse.ArgumentParser(
        prog="fusion_bench compare",
        description=_DESCRIPTION,
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", metavar="A")
    parser.add_argument("second", metavar="B")
    parser.add_argument("--experiment", action="append", metavar="NAME", help="<modelpool>/<taskpool>")
    parser.add_argument(
        "--independent", action="store_true", help="count examples singly also where they share a writer or a typeface"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON (accuracies as fractions)")
    parser.add_argument("--tracking-uri", metavar="URI")
    options = parser.parse_args(list(arguments))
    location = locate_store(options.tracking_uri)
    records, _ = read_records(location, experiments=options.experiment)
    texts = (options.first, options.second)
    seeds = [find_seeds(text, records) for text in texts]
    first, second = (
        found or find(text, location, records, experiments=options.experiment)
        for text, found in zip(texts, seeds, strict=True)
    )
    if any(seeds) and all(found or len(side) == 1 for found, side in zip(seeds, (first, second), strict=True)):
        compared = _with_seeds(first, second, clustered=not options.independent)
        names = (_name(first), _name(second))
        head = f"A  {_about(first)}\nB  {_about(second)}"
    elif len(first) == len(second) == 1:
        compared = _two_runs(first[0], second[0], clustered=not options.independent)
        names = (_name(first), _name(second))
        head = f"A  {_about(first)}\nB  {_about(second)}"
    else:
        compared = _two_sets(first, second, clustered=not options.independent)
        names = ("A", "B")
        head = f"A  {options.first}, {len(first)} runs\nB  {options.second}, {len(second)} runs"
    if options.json:
        print(json.dumps(compared.to_dict(), indent=1))
        return 0
    _print(compared, head, names)
    return 0


def _two_runs(first: Record, second: Record, *, clustered: bool) -> Comparison:
    from fusion_bench.report.comparison import compare_runs, other_measures

    tasks, notes = _common(first, second)
    a, b = first.outcomes(), second.outcomes()
    clusters = _clusters((first, second), tasks, notes) if clustered else {}
    found = compare_runs({t: a[t] for t in tasks}, {t: b[t] for t in tasks}, clusters=clusters, notes=notes)
    return dataclasses.replace(found, measures=other_measures([first.result], [second.result], tasks))


def _with_seeds(first: Sequence[Record], second: Sequence[Record], *, clustered: bool) -> Comparison:
    """Two methods, of which one or both ran with several seeds on the same examples."""
    from fusion_bench.report.comparison import compare_seeds, other_measures

    tasks, notes = _common(first[0], second[0])
    sides = []
    for records in (first, second):
        runs = [{task: found[task] for task in tasks} for found in (record.outcomes() for record in records)]
        sides.append(runs if len(runs) > 1 else runs[0])
    clusters = _clusters((*first, *second), tasks, notes) if clustered else {}
    found = compare_seeds(sides[0], sides[1], clusters=clusters, notes=notes)
    results = [[record.result for record in records] for records in (first, second)]
    return dataclasses.replace(found, measures=other_measures(results[0], results[1], tasks))


def _common(first: Record, second: Record) -> tuple[list[str], list[str]]:
    """The tasks that two runs evaluated on the same examples, and notes on what a reader must know."""
    from fusion_bench.report.comparison import common_tasks

    names = (f"{first.label} ({first.run_id[:8]})", f"{second.label} ({second.run_id[:8]})")
    if first.experiment != second.experiment and not set(first.data.items()) & set(second.data.items()):
        raise FusionBenchError(
            f"{names[0]} ran on {first.experiment} and {names[1]} on {second.experiment}: other models, other examples",
            hint="compare runs of one model pool and task pool",
        )
    tasks, notes = common_tasks(first.data, second.data, names=names)
    if first.experiment != second.experiment:
        notes.append(f"the pools differ: {first.experiment} and {second.experiment}")
    notes += [f"{task} is shown as 100 × {metric}" for task, metric in first.scored_by.items() if task in tasks]
    return tasks, notes


def _clusters(records: Sequence[Record], tasks: Sequence[str], notes: list[str]) -> dict[str, np.ndarray]:
    """Which examples share a source: as the first run says of which that can be read."""
    missing = []
    for record in records:
        try:
            found = record.clusters()
        except FusionBenchError as error:
            missing.append(error.message)
            continue
        return {task: labels for task, labels in found.items() if task in tasks}
    notes.append(f"examples are counted singly: {missing[0]}")
    return {}


def _two_sets(first: Sequence[Record], second: Sequence[Record], *, clustered: bool) -> Comparison:
    from fusion_bench.report.comparison import common_tasks, compare_sets

    theirs: Mapping[tuple[str, str], Record] = {(r.experiment, r.label): r for r in second}
    several = len({r.experiment for r in (*first, *second)}) > 1
    pairs, clusters, notes = {}, {}, []
    for record in first:
        other = theirs.get((record.experiment, record.label))
        if other is None:
            notes.append(f"{record.label}: only in A")
            continue
        try:
            tasks, left_out = common_tasks(record.data, other.data, names=("A", "B"))
            a, b = record.outcomes(), other.outcomes()
        except FusionBenchError as error:
            notes.append(f"{record.label}: left out, {error.message}")
            continue
        notes += [f"{record.label}: {note}" for note in left_out]
        name = record.case_id if several else record.label
        pairs[name] = ({t: a[t] for t in tasks}, {t: b[t] for t in tasks})
        clusters[name] = _clusters((record, other), tasks, notes) if clustered else {}
    ours = {(r.experiment, r.label) for r in first}
    notes += [f"{r.label}: only in B" for r in second if (r.experiment, r.label) not in ours]
    if not pairs:
        raise FusionBenchError("A and B have no case in common", hint="; ".join(notes[:4]))
    return compare_sets(pairs, clusters=clusters, notes=notes)


def _name(records: Sequence[Record]) -> str:
    name = records[0].label if len(records) == 1 else records[0].method
    return name if len(name) <= 18 else f"{name[:17]}…"


def _about(records: Sequence[Record]) -> str:
    record = records[0]
    if len(records) > 1:
        runs = ", ".join(each.run_id[:8] for each in records)
        return f"{record.method}, mean of {len(records)} seeds  ({runs}, {record.experiment})"
    commit = f", commit {record.commit[:9]}" if record.commit else ""
    return f"{record.label}  ({record.run_id[:8]}, {record.experiment}, {record.started:%Y-%m-%d %H:%M} UTC{commit})"


def _print(compared: Comparison, head: str, names: tuple[str, str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(escape(head))
    a, b = names if names[0] != names[1] else ("A", "B")
    counted = any(line.gained is not None for line in compared.lines)
    table = Table(box=None, pad_edge=False)
    of_tasks = any(line.name == "mean" for line in compared.lines)
    widest = max(len(line.name) for line in compared.lines)
    table.add_column("task" if of_tasks else "case", overflow="fold", min_width=min(widest, 10))
    for title in (a, b, "A − B"):
        table.add_column(escape(title), justify="right", no_wrap=True)
    table.add_column("95 %", no_wrap=True)
    if counted:
        table.add_column("only A / B", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    for line in compared.lines:
        table.add_row(*_cells(line, counted), style="bold" if line.name == "mean" else None)
    console.print(table)
    better = [line for line in compared.lines if line.is_significant()]
    level = f"{len(better)} of {len(compared.lines)} differences are significant at 5 % together"
    console.print(f"in per cent; p corrected by Holm; {level}")
    if compared.detectable is not None:
        least = f"{100 * compared.detectable:.2f} points of the mean"
        console.print(f"{compared.examples:,} examples; a difference of {least} would be found 8 times in 10")
    if compared.seed_deviations is not None:
        spread = " and ".join(f"{100 * deviation:.2f}" for deviation in compared.seed_deviations)
        console.print(f"seeds and examples are both a sample; the means spread from seed to seed by {spread} (A and B)")
    if compared.clustered:
        console.print(f"examples that share a source are counted together in: {', '.join(compared.clustered)}")
    if compared.measures:
        console.print(_measures(compared.measures, (a, b)))
    for note in compared.notes:
        print(f"note: {note}", file=sys.stderr)


def _measures(found: Sequence[OtherMeasure], names: tuple[str, str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from fusion_bench.report.measures import heading, places

    table = Table(box=None, pad_edge=False)
    table.add_column("other measures (↓ lower is better)", overflow="fold")
    for title in (*names, "A − B, untested"):
        table.add_column(escape(title), justify="right", no_wrap=True)
    for one in found:
        digits = places([one.first, one.second])
        numbers = (f"{one.first:.{digits}f}", f"{one.second:.{digits}f}", f"{one.difference:+.{digits}f}")
        table.add_row(escape(heading(one.name)), *numbers)
    return table


def _cells(line: Line, counted: bool) -> list[str]:
    from rich.markup import escape

    cells = [escape(line.name), f"{100 * line.first:.1f}", f"{100 * line.second:.1f}", f"{100 * line.difference:+.2f}"]
    cells.append(f"{100 * line.low:+.2f} to {100 * line.high:+.2f}")
    if counted:
        cells.append("" if line.gained is None else f"{line.gained} / {line.lost}")
    return [*cells, _p(line.p_value) + (" *" if line.is_significant() else "  ")]


def _p(value: float) -> str:
    """A p-value in few characters.

    Example:
        >>> _p(0.034), _p(1.0), _p(3e-7), _p(0.0)
        ('0.034', '1', '3e-07', '< 1e-99')
    """
    return "< 1e-99" if value < 1e-99 else f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}"
