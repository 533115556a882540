"""``fusion_bench list``: what the store holds, newest first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from fusion_bench.errors import FusionBenchError

if TYPE_CHECKING:
    from fusion_bench.families import Family
    from fusion_bench.tracking.records import Record

_DESCRIPTION = """\
The finished runs of the tracking store, newest first.

  fusion_bench list                          the newest run of each case; seeds of a method in one line
  fusion_bench list --all --limit 50         every run
  fusion_bench list "session:8d1f0c2ab34e"   those of one pytest session
  fusion_bench list sessions                 the sessions, with how many runs each and at which commit
"""


def main(arguments: Sequence[str]) -> int:
    """Run ``fusion_bench list``; returns the exit status."""
    from fusion_bench.families import Family
    from fusion_bench.tracking.finding import HELP, find, find_seeds, with_seeds
    from fusion_bench.tracking.location import locate_store
    from fusion_bench.tracking.records import read_records

    parser = argparse.ArgumentParser(
        prog="fusion_bench list",
        description=_DESCRIPTION,
        epilog=HELP.replace("A and B name runs", "RUNS may be"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="?", metavar="RUNS", help="which; see below. Or: sessions")
    parser.add_argument("--all", action="store_true", help="every run, not only the newest of each case")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="at most so many")
    parser.add_argument("--experiment", action="append", metavar="NAME", help="<modelpool>/<taskpool>")
    parser.add_argument("--tracking-uri", metavar="URI")
    options = parser.parse_args(list(arguments))
    location = locate_store(options.tracking_uri)
    records, notes = read_records(location, experiments=options.experiment)
    if options.limit is not None and options.limit < 1:
        raise FusionBenchError(f"--limit {options.limit}", hint="a number from 1 on")
    if options.runs == "sessions":
        _show_sessions(records, options.limit)
    else:
        if options.runs:
            seeds = find_seeds(options.runs, records)
            shown = seeds or find(options.runs, location, records, experiments=options.experiment)
            if options.all and seeds:
                shown = [r for r in records if (r.experiment, r.method) == (shown[0].experiment, shown[0].method)]
            elif options.all and len(shown) == 1:  # a name: all its runs
                shown = [r for r in records if (r.experiment, r.label) == (shown[0].experiment, shown[0].label)]
        else:
            shown = records
        alone = [Family(record.label, (record,)) for record in shown]
        _show((alone if options.all else with_seeds(shown))[: options.limit])
    if notes:
        few = notes if options.all else notes[:3]
        print(f"{len(notes)} other run{'s' if len(notes) > 1 else ''}:", *few, sep="\n  ", file=sys.stderr)
        if len(few) < len(notes):
            print(f"  and {len(notes) - len(few)} more (--all)", file=sys.stderr)
    return 0


def _show(families: Sequence[Family[Record]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("run", no_wrap=True, min_width=8)
    table.add_column("name", overflow="fold", min_width=12)
    pools = list(dict.fromkeys(family.members[0].experiment for family in families))
    if len(pools) > 1:
        table.add_column("pools", overflow="fold")
    table.add_column("mean %", justify="right", no_wrap=True)
    for name in ("95 %", "started (UTC)", "commit"):
        table.add_column(name, no_wrap=True)
    for family in families:
        record = max(family.members, key=lambda each: each.started)
        mean = fmean(each.result["metrics"]["accuracy/mean"] for each in family.members)
        interval = _seeds_interval(family.members) if family.has_seeds else record.result.get("interval")
        table.add_row(
            f"{len(family.members)} seeds" if family.has_seeds else record.run_id[:8],
            _plain(family.name if family.has_seeds else record.label),
            *([_plain(record.experiment)] if len(pools) > 1 else []),
            f"{100 * mean:.1f}",
            f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}" if interval else "",
            f"{record.started:%Y-%m-%d %H:%M}",
            record.commit[:8] + ("+" if record.commit.endswith("+") else ""),
        )
    console = Console(highlight=False)
    if len(pools) == 1:
        console.print(_plain(pools[0]))
    console.print(table)


def _seeds_interval(records: Sequence[Record]) -> tuple[float, float] | None:
    """Of the mean over seeds and tasks; None where the outcomes of one are lost."""
    from fusion_bench.metrics.seeds import seeded_mean

    try:
        found = seeded_mean([record.outcomes() for record in records], clusters=records[0].clusters() or None)
    except FusionBenchError:
        return None
    return found.low, found.high


def _show_sessions(records: Sequence[Record], limit: int | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("session", "runs", "started (UTC)", "commit", "command", box=None, pad_edge=False)
    for name in list(dict.fromkeys(record.session for record in records))[:limit]:
        of = [record for record in records if record.session == name]
        first = min(of, key=lambda record: record.started)
        command = _plain(first.tags.get("mlflow.source.name", ""))
        table.add_row(name or "-", str(len(of)), f"{first.started:%Y-%m-%d %H:%M}", first.commit[:8], command)
    Console(highlight=False).print(table)


def _plain(text: str) -> str:
    """Text in which rich sees no markup."""
    from rich.markup import escape

    return escape(text)
