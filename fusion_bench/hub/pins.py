"""Pins: the commit, sizes and sums of what a pool names, as the hub stated them when somebody looked.

``fusion_bench pools check NAME --pin`` writes them to ``pins/NAME.yaml`` beside the folders of the pools. A source
whose YAML names the same revision as its pin does (or none, as its pin) is then fetched and looked for at that commit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fusion_bench.errors import FusionBenchError
from fusion_bench.files import write_whole
from fusion_bench.hub.places import is_commit
from fusion_bench.hub.source import Source

Key = tuple[str, str]  # a source's kind and its id, with subset and subfolder where it has them
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HEAD = "# What the hub stated; made by: fusion_bench pools check {name} --pin\n"


@dataclass(frozen=True)
class Pin:
    """What was found at a source.

    Attributes:
        commit: which the revision meant.
        revision: that the pool's YAML named, None for the main branch.
        files: names to ``(bytes, sha256)``; no sum for files that the hub does not state one for.
        licence, gated: as the repository stated them.
    """

    commit: str
    revision: str | None = None
    files: Mapping[str, tuple[int, str | None]] = field(default_factory=dict)
    licence: str | None = None
    gated: bool = False


def key(source: Source) -> Key:
    """What a pin is found by.

    Example:
        >>> key(Source("a/b", kind="dataset", subset="c"))
        ('dataset', 'a/b (c)')
    """
    return source.kind, dataclasses.replace(source, revision=None).label


def pinned(source: Source, pins: Mapping[Key, Pin]) -> Source:
    """The source at the commit of its pin, with the sizes and sums that were found; as it is where it has none.

    What the source states itself goes before its pin.

    Example:
        >>> pins = {("model", "a/b"): Pin("0" * 40, files={"w": (3, "f" * 64)})}
        >>> found = pinned(Source("a/b"), pins)
        >>> found.revision == "0" * 40, found.bytes
        (True, 3)
        >>> pinned(Source("a/b", "v2"), pins).revision  # pinned was the main branch
        'v2'
    """
    pin = pins.get(key(source))
    if pin is None or source.place != "hub" or pin.revision != source.revision:
        return source
    sums = {name: found for name, (_, found) in pin.files.items() if found is not None}
    return dataclasses.replace(
        source,
        revision=pin.commit,
        bytes=source.bytes if source.bytes is not None else sum(size for size, _ in pin.files.values()),
        sha256={**sums, **source.sha256},
        licence=source.licence or pin.licence,
        gated=source.gated or pin.gated,
    )


def path_of(pool: Path) -> Path:
    """Where the pins of a pool's YAML file are.

    Example:
        >>> path_of(Path("config/modelpool/mine.yaml")).as_posix()
        'config/pins/mine.yaml'
    """
    return pool.parent.parent / "pins" / pool.name


def read(path: Path) -> dict[Key, Pin]:
    """The pins in a file; none where there is no file.

    Raises:
        FusionBenchError: the file is damaged.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    try:
        return {
            (kind, name): _pin(entry)
            for kind in ("model", "dataset")
            for name, entry in (content.get(f"{kind}s") or {}).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, repr(error)) from error


def write(path: Path, pins: Mapping[Key, Pin]) -> bool:
    """Write pins, a line a fact and in the order of their names; whether the file is another than before.

    Raises:
        FusionBenchError: the file cannot be written.
    """
    groups = {
        f"{kind}s": {name: _plain(pin) for (of, name), pin in sorted(pins.items()) if of == kind}
        for kind in ("model", "dataset")
    }
    text = _HEAD.format(name=path.stem) + yaml.safe_dump(
        {group: entries for group, entries in groups.items() if entries}, sort_keys=False, width=1000
    )
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return False
        write_whole(path, text)
    except OSError as error:
        raise FusionBenchError(
            f"cannot write {path}: {error.strerror}", hint="--config-path names a folder of your own"
        ) from error
    return True


def _pin(entry: Mapping[str, Any]) -> Pin:
    files = {str(name): (int(of["bytes"]), of.get("sha256")) for name, of in entry["files"].items()}
    if not is_commit(entry["commit"]):
        raise ValueError(f"{entry['commit']!r} is no commit")
    return Pin(entry["commit"], entry.get("revision"), files, entry.get("licence"), bool(entry.get("gated")))


def _plain(pin: Pin) -> dict[str, Any]:
    found: dict[str, Any] = {"commit": pin.commit}
    if pin.revision is not None:
        found["revision"] = pin.revision
    found |= {"licence": pin.licence} if pin.licence else {}
    found |= {"gated": True} if pin.gated else {}
    files = {name: {"bytes": size} | ({"sha256": of} if of else {}) for name, (size, of) in sorted(pin.files.items())}
    return {**found, "files": files}


def _damaged(path: Path, why: str) -> FusionBenchError:
    return FusionBenchError(
        f"the pins in {path} cannot be read: {why}", hint=f"fusion_bench pools check {path.stem} --pin writes it anew"
    )
