"""``fusion_bench pools list`` and ``show``: the pools as their YAML says, and what of them is on this machine."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from fusion_bench import registry
from fusion_bench.disk import byte_text
from fusion_bench.errors import FusionBenchError, unknown_name
from fusion_bench.hub import Pool, Source, local, missing, read_pool
from fusion_bench.hub.places import cache_folder, size_of
from fusion_bench.hub.pool_sources import pools

TITLES = {"modelpool": "model pools", "taskpool": "task pools"}
_STATES = {"here": "here", "partly": "partly", "missing": "not here", "shipped": "shipped"}


def run(options: argparse.Namespace) -> int:
    """List or show; returns the exit status."""
    if options.action == "list":
        found, broken = _all(options.config_path)
        texts = ["\n".join(_listed(found))]
        content: Any = [summary(pool) for pool in found]
    else:
        found, broken = named(options.names, options.config_path), []
        texts = ["\n".join(_shown(pool)) for pool in found]
        content = [summary(pool) | {"sources": [_part(pool, role) for role in pool.sources]} for pool in found]
    print(json.dumps(content, indent=1) if options.format == "json" else "\n\n".join(texts))
    for error in broken:
        print(f"fusion_bench: {one_line(error)}", file=sys.stderr)
    return 1 if broken else 0


def named(names: list[str], config_dir: Path | None) -> list[Pool]:
    """The pools of some names, in both groups where a name is in both.

    Raises:
        FusionBenchError: a name that no pool has, with the nearest.
    """
    there = pools(config_dir=config_dir)
    found = []
    for name in dict.fromkeys(names):
        groups = [group for group, known in there if known == name]
        if not groups:
            raise unknown_name("pool", name, {known for _, known in there})
        found += [read_pool(group, name, config_dir=config_dir) for group in groups]
    return found


def summary(pool: Pool) -> dict[str, Any]:
    """What ``list`` tells of a pool."""
    # tasks of one data set name it each; it is fetched once
    sizes = [_bytes(source) for source in dict.fromkeys(pool.sources.values())]
    licences = {source.licence for source in pool.sources.values() if source.licence}
    stated = pool.config.get("licence")
    about = None in sizes or not sizes  # then the pool's YAML may know
    expected = pool.config.get("bytes") if about else sum(size for size in sizes if size is not None)
    return {
        "group": pool.group,
        "name": pool.name,
        "about": pool.about,
        "models" if pool.group == "modelpool" else "tasks": _count(pool),
        "bytes": expected if isinstance(expected, int) else None,
        "bytes_are_about": about,
        "state": pool.state,
        "licence": stated if isinstance(stated, str) else ", ".join(sorted(licences)) or None,
        "gated": any(source.gated for source in pool.sources.values()),
        "taskpools": list(pool.config.get("taskpools", ())),
        "published": list(pool.published),
    }


def one_line(error: FusionBenchError) -> str:
    """An error and what to do about it, as one line."""
    return error.message if error.hint is None else f"{error.message} ({error.hint})"


def command(action: str, names: list[str], config_dir: Path | None) -> str:
    """What to type to do something about pools.

    Example:
        >>> command("fetch", ["a", "b"], None)
        'fusion_bench pools fetch a b'
    """
    folder = f" --config-path {config_dir}" if config_dir is not None else ""
    return f"fusion_bench pools {action} {' '.join(names)}{folder}"


def _all(config_dir: Path | None) -> tuple[list[Pool], list[FusionBenchError]]:
    found, broken = [], []
    for group, name in pools(config_dir=config_dir):
        try:
            found.append(read_pool(group, name, config_dir=config_dir))
        except FusionBenchError as error:  # noqa: PERF203 - one file that is broken leaves the others to be listed
            broken.append(error)
    return found, broken


def _listed(found: list[Pool]) -> list[str]:
    lines = []
    width = shutil.get_terminal_size().columns
    name_width = max((len(pool.name) for pool in found), default=0)
    for group, title in TITLES.items():
        of = [summary(pool) for pool in found if pool.group == group]
        what = "models" if group == "modelpool" else "tasks"
        lines += ["", f"{title:<{name_width}}  {what:>6}  {'size':>7}  here      licence"] if of else []
        for one in of:
            size = _size(one)
            licence = (one["licence"] or "-") + (", gated" if one["gated"] else "")
            line = (
                f"{one['name']:<{name_width}}  {one[what] or '-':>6}  {size:>7}  {_STATES[one['state']]:<8}  {licence}"
            )
            lines.append(line if len(line) <= width else f"{line[: width - 1]}…")  # `pools show` has all of it
            lines += textwrap.wrap(one["about"], width - 2, initial_indent="  ", subsequent_indent="  ")
    return lines[1:]


def _shown(pool: Pool) -> list[str]:
    one = summary(pool)
    width = shutil.get_terminal_size().columns
    facts: dict[str, str | None] = {
        "file": str(pool.file),
        "task pools": ", ".join(one["taskpools"]),
        "published": ", ".join(one["published"]),
        "licence": one["licence"],
        "size": None if one["bytes"] is None else _size(one),
        "needs": ", ".join(pool.config.get("needs", ())),
    }
    lines = [f"{pool.group} {pool.name}", *textwrap.wrap(one["about"], width - 2, initial_indent="  ")]
    for name, fact in facts.items():
        head = f"  {name:<10}  "
        lines += textwrap.wrap(
            fact or "", width, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False
        )
    roles = max((len(role) for role in pool.sources), default=0)
    lines += [""] if pool.sources else []
    for role in pool.sources:
        part = _part(pool, role)
        size = "" if part["bytes"] is None else byte_text(part["bytes"])
        kind = ["pinned" if part["pinned"] else "", size, part["licence"] or "", "gated" if part["gated"] else ""]
        lines.append(f"  {role:<{roles}}  {pool.sources[role].label}")
        place = f"not here: {part['lacks']}" if part["folder"] is None else _place(Path(part["folder"]))
        lines.append(f"  {'':<{roles}}  {', '.join([*filter(None, kind), place])}")
    lacking = [role for role in pool.missing if pool.sources[role].place == "hub"]
    if lacking:
        user = None if pool.file.is_relative_to(registry.folders(pool.group)[0]) else pool.file.parent.parent
        lines += ["", f"  {len(lacking)} of {len(pool.sources)} to be fetched: {command('fetch', [pool.name], user)}"]
    if pool.made:
        lines += ["", f"  {len(pool.made)} of {len(pool.sources)} to be made: {pool.make}"]
    return lines


def _size(one: dict[str, Any]) -> str:
    if one["bytes"] is None:
        return "?"
    return f"{'~' if one['bytes_are_about'] else ''}{byte_text(one['bytes'])}"


def _place(folder: Path) -> str:
    if folder.is_relative_to(cache_folder()):
        return "in the hub's cache"
    return f"~/{folder.relative_to(Path.home())}" if folder.is_relative_to(Path.home()) else str(folder)


def _part(pool: Pool, role: str) -> dict[str, Any]:
    """What ``show`` tells of a source."""
    source = pool.sources[role]
    folder = local(source)
    return {
        "role": role,
        "id": source.id,
        "kind": source.kind,
        "revision": source.revision,
        "pinned": source.revision != pool.written[role].revision,
        "subset": source.subset,
        "bytes": _bytes(source),
        "folder": None if folder is None else str(folder),
        "lacks": missing(source) or None,
        "licence": source.licence,
        "gated": source.gated,
    }


def _bytes(source: Source) -> int | None:
    """As stated, else as it lies here."""
    if source.bytes is not None:
        return source.bytes
    folder = local(source)
    return None if folder is None else size_of(folder)


def _count(pool: Pool) -> int | None:
    if pool.group == "taskpool":
        return len(pool.config.get("tasks", ())) or None
    return len([role for role in pool.sources if role != "path"]) or None
