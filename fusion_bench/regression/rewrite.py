"""A result made the baseline of its case: what was accepted stays, also where several processes write at once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.regression.baseline import Baseline, path_of, read, write

_LOCK_SECONDS = 60


def same_measurement(first: Baseline, second: Baseline) -> bool:
    """Whether two differ in nothing but seconds and commits: then the older file can stay as it is."""
    names = ("outcomes", "trials", "reference_outcomes", "data", "config", "versions", "machine", "deterministic")
    return all(getattr(first, name) == getattr(second, name) for name in names)


def rewrite(folder: Path, now: Baseline, *, because: str | None = None, costlier: bool = False) -> str:
    """Make a result the baseline of its case; what was accepted before stays. Returns "new", "rewritten", "as before".

    A file that measured the same is left as it is. The lower cost stays: a case that runs alone pays for what the first
    of a session loads and compiles. Of several processes one at a time reads, changes and writes, so that no reason is
    lost.

    Args:
        because: why the change is right; kept in the file.
        costlier: the new costs are right although they are higher.

    Raises:
        FusionBenchError: the folder cannot be written, or another process holds its lock for too long.
    """
    with _locked(folder):
        return _rewrite(folder, now, because, costlier)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=_LOCK_SECONDS)
        lock.acquire()
    except Timeout:
        raise FusionBenchError(
            f"{path} is held by another process for over {_LOCK_SECONDS} s",
            hint="wait for it, or remove the file if no process of ours runs",
        ) from None
    except OSError as error:
        raise FusionBenchError(f"cannot write baselines below {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _rewrite(folder: Path, now: Baseline, because: str | None, costlier: bool) -> str:
    path = path_of(folder, now.case)
    old, accepted = None, []
    if path.is_file():
        try:
            old = read(path)
            accepted = list(old.accepted)
        except FusionBenchError:  # damaged or of another schema: that is what this mends, but for what was accepted
            accepted = _rescued(path)
    if old is not None and same_measurement(old, now) and not costlier:
        return "as before"
    if old is not None and not costlier:
        now = dataclasses.replace(now, costs={n: min(v, old.costs.get(n, v)) for n, v in now.costs.items()})
    if because is not None:
        was = None if old is None else old.accuracy["mean"]
        accepted.append({"date": now.date, "commit": now.commit, "because": " ".join(because.split()), "was": was})
    write(folder, dataclasses.replace(now, accepted=accepted))
    return "new" if old is None else "rewritten"


def _rescued(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("accepted", [])
    except (OSError, ValueError, AttributeError):
        return []
    return found if isinstance(found, list) else []
