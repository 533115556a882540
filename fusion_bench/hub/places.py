"""Where a source lies on this machine. Nothing here asks the network, ever."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from fusion_bench.hub.files import lack
from fusion_bench.hub.source import PACKAGE, PYTHON, Source

FOLDERS = "FUSION_BENCH_MODELS"
_TRUE = ("1", "ON", "YES", "TRUE")


def local(source: Source) -> Path | None:
    """The folder (or file) of a source that is here, whole; None where it is not.

    A path, or a folder of a package, is taken as it is. An id of the hub is looked for in the folders of the
    environment variable ``FUSION_BENCH_MODELS`` (several are separated as in ``PATH``), as ``owner/name`` and as
    ``name``, whatever the revision; then in the hub's cache, at the revision.

    Example:
        >>> local(Source("package://clip_mini")).name
        'clip_mini'
        >>> local(Source("no/such-model")) is None
        True
    """
    found, _ = _sought(source)
    return found


def missing(source: Source) -> str:
    """Why `local` finds nothing; "" where it finds something.

    Example:
        >>> missing(Source("python://no_such_module/data"))
        'the Python package no_such_module is not installed'
    """
    _, reason = _sought(source)
    return reason


def cache_folder() -> Path:
    """The hub's cache: ``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``, else in the user's cache."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return Path(os.path.expandvars(given)).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(os.path.expandvars(home)).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface" / "hub"


def repository(source: Source) -> Path:
    """The folder of a repository in the hub's cache.

    Example:
        >>> repository(Source("a/b", kind="dataset")).name
        'datasets--a--b'
    """
    return cache_folder() / "--".join([f"{source.kind}s", *source.id.split("/")])


def snapshot(source: Source) -> Path | None:
    """The cached files of a source's revision, whole or not."""
    folder = repository(source)
    revision = source.revision or "main"
    commit = revision
    if not (folder / "snapshots" / revision).is_dir():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    found = folder / "snapshots" / commit
    return found if commit and found.is_dir() else None


def offline() -> bool:
    """Whether the user says that the hub is not to be asked (``HF_HUB_OFFLINE``)."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _sought(source: Source) -> tuple[Path | None, str]:
    if source.place != "hub":
        path, reason = _given(source)
        if path is not None and source.subfolder:
            path = path / source.subfolder
        if path is None or path.exists():
            return path, reason
        return None, f"no such folder: {path}"
    for folder in _own(source):
        lacks = _lack(folder, source)
        return (None, f"{folder}: {lacks}") if lacks else (_inside(folder, source), "")
    return _cached(source)


def _given(source: Source) -> tuple[Path | None, str]:
    """The path that is written in the id itself."""
    if source.id.startswith(PACKAGE):
        return Path(__file__).parent.parent / "assets" / source.id.removeprefix(PACKAGE), ""
    if not source.id.startswith(PYTHON):
        return Path(source.id).expanduser(), ""
    module, *folders = source.id.removeprefix(PYTHON).strip("/").split("/")
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a top name: a package above would be imported
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        return None, f"the Python package {top} is not installed"
    places = [Path(place).joinpath(*inner, *folders) for place in spec.submodule_search_locations]
    return next((place for place in places if place.exists()), places[0]), ""


def _own(source: Source) -> Iterator[Path]:
    """The user's folder for this id, where there is one."""
    for text in filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)):
        for name in dict.fromkeys((source.id, source.id.rpartition("/")[2])):
            folder = Path(text).expanduser() / name
            if folder.is_dir() and any(folder.iterdir()):
                yield folder


def _cached(source: Source) -> tuple[Path | None, str]:
    folder = snapshot(source)
    if folder is None:
        revision = (source.revision or "")[: 12 if is_commit(source.revision) else None]
        at = f" at revision {revision}" if revision and repository(source).is_dir() else ""
        return None, f"it is not in the cache{at}"
    lacks = _lack(folder, source)
    if lacks:
        return None, f"half of it is in the cache: {lacks}"
    since = folder.stat().st_mtime
    for part in (repository(source) / "blobs").glob("*.incomplete"):
        with contextlib.suppress(OSError):  # it has become whole just now
            if part.stat().st_mtime > since:  # older ones are left from what was given up
                return None, "half of it is in the cache: a file is being fetched, or was when that was cut off"
    return _inside(folder, source), ""


def _lack(folder: Path, source: Source) -> str | None:
    if not _inside(folder, source).is_dir():
        return f"it has no folder {source.subfolder}"
    for name in source.sha256:
        if not (folder / name).is_file():
            return f"{name} is not there"
    return lack(_inside(folder, source), source.kind, source.subset, source.weights)


def _inside(folder: Path, source: Source) -> Path:
    return folder / source.subfolder if source.subfolder else folder


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit, which stays what it is.

    Example:
        >>> is_commit("main"), is_commit("0" * 40)
        (False, True)
    """
    return revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision) is not None
