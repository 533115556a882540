"""From what a person types to runs: a name, a case, a fingerprint, a session, a commit, a filter of MLflow's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.families import Family, families
from fusion_bench.tracking.records import Record, latest, read_records

if TYPE_CHECKING:
    from fusion_bench.tracking.location import StoreLocation

_FILTER = re.compile(r"^\s*(tags|metrics|params|attributes)\b\s*\.?")
_BACK = re.compile(r"^(?P<name>.+)@(?P<back>\d+)$")
_HEX = re.compile(r"^[0-9a-f]{6,}$")

HELP = """\
A and B name runs:
  ties                       the newest run of that name (or case: ties-clip_mini-mini8)
  ties@1                     the run before it; @2 the one before that
  'ties[scaling=0.4]'        with what was changed about it, as the leaderboard shows it
  dare_ties                  of a method that ran with several seeds all of them; 'dare_ties[seed=1]' one
  3f2a91c0                   a run id, or a fingerprint, or the beginning of one
  session:8d1f0c2ab34e       all runs of a pytest session or a command
  commit:8b1e77c             all runs at a commit
  "metrics.`accuracy/mean` > 0.6 and tags.session = 'x'"      a filter of MLflow's
"""


def find(
    text: str, location: StoreLocation, records: Sequence[Record], *, experiments: Sequence[str] | None = None
) -> list[Record]:
    """The runs that a text means, newest first.

    Args:
        text: see `HELP`.
        records: of the store, newest first, where the text is no filter.

    Raises:
        FusionBenchError: nothing, with the nearest names; or a filter that MLflow does not understand.
    """
    if _FILTER.match(text):
        found = latest(read_records(location, experiments=experiments, where=text)[0])
        if not found:
            raise FusionBenchError(f"no finished run answers to {text!r}")
        return found
    kind, _, value = text.partition(":")
    if kind in ("session", "commit") and value:
        of = {"session": lambda r: r.session, "commit": lambda r: r.commit}[kind]
        found = latest(r for r in records if of(r).startswith(value))
        if not found:
            raise unknown_name(kind, value, list(dict.fromkeys(of(r)[:12] for r in records if of(r)))[:20])
        return found
    back = 0
    if match := _BACK.match(text):
        text, back = match["name"], int(match["back"])
    named = [r for r in records if text in (r.label, r.case_id, f"{r.experiment}/{r.label}")]
    if not named and _HEX.match(text):
        named = [r for r in records if r.run_id.startswith(text)]
        named = named or [r for r in records if str(r.result.get("fingerprint", "")).startswith(text)]
    if not named:
        raise unknown_name(
            "run", text, list(dict.fromkeys(r.label for r in records)), where=f"the store {location.uri}"
        )
    pools = list(dict.fromkeys(r.experiment for r in named))
    if len(pools) > 1:
        raise _several_pools(text, pools)
    if back >= len(named):
        raise FusionBenchError(
            f"{text!r} has {len(named)} run(s), @{back} goes further back", hint=f"{text}@0 is the newest"
        )
    return [named[back]]


def find_seeds(text: str, records: Sequence[Record]) -> list[Record]:
    """The runs of the method that a text names, one a seed, where its newest runs are of several; else none.

    Args:
        text: a method without a seed, as the leaderboard shows it, or as a case: ``dare_ties-clip_mini-mini8``.
        records: of the store, newest first.

    Raises:
        FusionBenchError: such a method on several pools.
    """
    meant = [r for r in records if text in (r.method, f"{r.experiment}/{r.method}", _method_case(r))]
    pools = list(dict.fromkeys(r.experiment for r in meant))
    newest = [with_seeds([r for r in meant if r.experiment == pool])[0] for pool in pools]
    if len(pools) > 1 and any(family.has_seeds for family in newest):
        raise _several_pools(text, pools)
    return list(newest[0].members) if newest and newest[0].has_seeds else []


def with_seeds(records: Iterable[Record]) -> list[Family[Record]]:
    """The newest run of each case; runs of one experiment that differ in the seed alone together."""
    by_pools: dict[tuple[object, ...], list[Record]] = {}
    for record in latest(records):
        by_pools.setdefault((record.experiment, *sorted(record.data.items())), []).append(record)
    found = [family for group in by_pools.values() for family in families(group, lambda record: record.result)]
    return sorted(found, key=lambda family: -max(record.started.timestamp() for record in family.members))


def _several_pools(text: str, pools: Sequence[str]) -> FusionBenchError:
    return FusionBenchError(
        f"{text!r} has run on several pools: {', '.join(pools)}",
        hint=f"say which: {pools[0]}/{text}, or --experiment {pools[0]}",
    )


def _method_case(record: Record) -> str:
    case = record.result["case"]
    return f"{record.method}-{case['modelpool']}-{case['taskpool']}"
