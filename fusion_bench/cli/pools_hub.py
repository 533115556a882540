"""``fusion_bench pools check`` and ``fetch``: what is asked of the hub, and what is brought from it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fusion_bench.cli.pools_show import named, one_line
from fusion_bench.disk import byte_text
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub import Checked, Pool, Source, check, fetch, local, missing, read_pool
from fusion_bench.hub import pins as pinning
from fusion_bench.hub.pool_sources import pools

OK, FAILED = 0, 1
Found = Checked | FusionBenchError


def run(options: argparse.Namespace) -> int:
    """Check or fetch; returns the exit status: 1 where something is wrong with one of the pools."""
    if options.workers < 1:
        raise FusionBenchError(f"--workers {options.workers}", hint="a number from 1 on")
    return _check(options) if options.action == "check" else _fetch(options)


def _check(options: argparse.Namespace) -> int:
    if bool(options.names) == options.all:
        raise FusionBenchError("check needs names of pools, or --all", hint="fusion_bench pools list")
    told, problems = [], 0
    for pool in _pools(options):
        if isinstance(pool, FusionBenchError):
            problems += 1
            print(f"fusion_bench: {one_line(pool)}", file=sys.stderr)
            continue
        sources = pool.written if options.pin else pool.sources
        found = _asked(pool, sources, options)
        wrong = [one for one in found.values() if isinstance(one, FusionBenchError)] + _misfits(pool, found)
        for error in wrong:
            print(f"fusion_bench: {one_line(error)}", file=sys.stderr)
        problems += len(wrong)
        written = _pin(pool, found) if options.pin else None
        told.append(_report(pool, found, wrong, written))
        if options.format == "text":
            print(_line(told[-1]))
    if options.format == "json":
        print(json.dumps(told, indent=1))
    return FAILED if problems else OK


def _pools(options: argparse.Namespace) -> list[Pool | FusionBenchError]:
    if not options.all:
        return list(named(options.names, options.config_path))
    found: list[Pool | FusionBenchError] = []
    for group, name in pools(config_dir=options.config_path):
        try:
            found.append(read_pool(group, name, config_dir=options.config_path))
        except FusionBenchError as error:  # noqa: PERF203 - the others go on
            found.append(error)
    return found


def _asked(pool: Pool, sources: Mapping[str, Source], options: argparse.Namespace) -> dict[str, Found | None]:
    """What the hub says of each source; None for what is no repository of it, and is here."""
    known = [source.id for source in sources.values()]

    def ask(role: str) -> Found | None:
        source = sources[role]
        name = f"{pool.name}: {role}"
        try:
            if source.place != "hub":
                if source in pool.made:
                    return None  # no repository could have it
                if local(source) is None:
                    raise FusionBenchError(f"{name}: {source.label}: {missing(source)}")
                return None
            return check(source, pool=name, known=known, headers=not options.no_headers)
        except FusionBenchError as error:
            return error

    with ThreadPoolExecutor(options.workers) as threads:
        return dict(zip(sources, threads.map(ask, sources), strict=True))


def _misfits(pool: Pool, found: Mapping[str, Found | None]) -> list[FusionBenchError]:
    """Models whose headers say that they cannot be of the base's architecture."""
    base = found.get("base")
    if not isinstance(base, Checked) or base.tensors is None:
        return []
    wrong = []
    for role, one in found.items():
        tensors = one.tensors if isinstance(one, Checked) else None
        for name, (_, shape) in (tensors or {}).items():
            if name in base.tensors and base.tensors[name][1] != shape:
                wrong.append(
                    FusionBenchError(
                        f"{pool.name}: {role}: {pool.sources[role].label} does not fit {base.source.label}: tensor "
                        f"{name!r} has shape {shape}, the base has {base.tensors[name][1]}",
                        hint="it is of another architecture",
                    )
                )
                break
    return wrong


def _pin(pool: Pool, found: Mapping[str, Found | None]) -> Path | None:
    """Write what was found; of what could not be asked for, what was known before stays."""
    path = pinning.path_of(pool.file)
    now = {pinning.key(one.source): one.pin for one in found.values() if isinstance(one, Checked)}
    return path if now and pinning.write(path, pinning.read(path) | now) else None


def _report(
    pool: Pool, found: Mapping[str, Found | None], wrong: list[FusionBenchError], written: Path | None
) -> dict[str, Any]:
    checked = {role: one for role, one in found.items() if isinstance(one, Checked)}
    return {
        "group": pool.group,
        "name": pool.name,
        "sources": {
            role: {
                "id": one.source.id,
                "commit": one.commit,
                "bytes": one.bytes,
                "licence": one.licence,
                "gated": one.gated,
                "tensors": None if one.tensors is None else len(one.tensors),
            }
            for role, one in checked.items()
        },
        "problems": [{"message": error.message, "hint": error.hint} for error in wrong],
        "pins": None if written is None else str(written),
    }


def _line(told: Mapping[str, Any]) -> str:
    sources, problems = told["sources"], len(told["problems"])
    size = f", {byte_text(sum(one['bytes'] for one in sources.values()))}" if sources else ""
    gated = sum(one["gated"] for one in sources.values())
    state = f"{problems} problem{'s' if problems > 1 else ''}" if problems else "all as it should be"
    line = f"{told['name']}: {len(sources)} on the hub{size}{f', {gated} gated' if gated else ''}; {state}"
    return f"{line}; pins written: {told['pins']}" if told["pins"] else line


def _fetch(options: argparse.Namespace) -> int:
    from fusion_bench.cli.display import display

    wanted = named(options.names, options.config_path)
    first: dict[Source, str] = {}
    for pool in wanted:
        for role, source in pool.sources.items():
            if source not in pool.made:
                first.setdefault(source, f"{pool.name}: {role}")
    with display(f"fetch {', '.join(options.names)}", 0, 1) as progress:
        found = fetch({name: source for source, name in first.items()}, progress=progress, workers=options.workers)
    wrong = [one for one in found.values() if isinstance(one, FusionBenchError)]
    for error in wrong:
        print(f"fusion_bench: {one_line(error)}", file=sys.stderr)
    for pool in wanted:
        print(f"{pool.name}: {_left(pool)}")
    return FAILED if wrong else OK


def _left(pool: Pool) -> str:
    """What of a pool is still not here, and what makes the part that no hub has."""
    whole = len(pool.sources)
    lacking = len([role for role in pool.missing if pool.sources[role] not in pool.made])
    told = f"{lacking} of {whole} not here" if lacking else ""
    if not pool.made:
        return told or "here"
    count = f"{told}; {len(pool.made)}" if told else f"{len(pool.made)} of {whole}"
    return f"{count} to be made: {pool.make}"
