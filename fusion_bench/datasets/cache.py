"""Pictures decoded and preprocessed once, kept on disk, mapped into memory by every later case."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.errors import FusionBenchError

_KIND = "image cache"


def cache_root() -> Path:
    """``FUSION_BENCH_CACHE``, else ``fusion_bench`` in the user's cache folder."""
    given = os.environ.get("FUSION_BENCH_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fusion_bench"


@contextmanager
def writing(folder: Path, kind: str = "cache") -> Iterator[None]:
    """Tells an error of the file system as one of a cache; what is kept there is made outside of it."""
    try:
        yield
    except OSError as error:
        raise FusionBenchError(
            f"cannot write the {kind} {folder}: {error.strerror or error}",
            hint="set FUSION_BENCH_CACHE to a folder that can be written",
        ) from error


@contextmanager
def locked(path: Path, kind: str = "cache") -> Iterator[None]:
    """A lock on a file of a cache, whose folder is made.

    Raises:
        FusionBenchError: the folder cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(f"{path}.lock")
    with writing(path.parent, kind):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class ImageCache:
    """Arrays ``(n, channels, height, width)`` uint8 under names made of the data's and the transform's hash.

    Args:
        root: the folder; it is made when first written to.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or cache_root()) / "images"

    def images(
        self,
        data_hash: str,
        transform: Mapping[str, Any],
        shape: tuple[int, ...],
        fill: Callable[[np.ndarray], None],
    ) -> np.ndarray:
        """A read-only memory map of ``shape``; ``fill`` writes the array where it is not there yet.

        Written under a temporary name and renamed, behind a lock: of several processes one decodes, the others wait.

        Raises:
            FusionBenchError: the folder cannot be written.
        """
        key = hashlib.sha256(json.dumps([data_hash, dict(transform), list(shape)], sort_keys=True).encode()).hexdigest()
        path = self.root / f"{key[:32]}.npy"
        found = _open(path, shape)
        if found is not None:
            return found
        with locked(path, _KIND):
            found = _open(path, shape)
            if found is None:
                self._write(path, shape, fill)
                found = _open(path, shape)
        if found is None:
            raise FusionBenchError(f"the image cache {path} was removed while in use", hint="run again")
        return found

    def _write(self, path: Path, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> None:
        with writing(self.root, _KIND):
            handle, temporary = tempfile.mkstemp(prefix=".unfinished-", suffix=".npy", dir=self.root)
            os.close(handle)
        try:
            with writing(self.root, _KIND):
                array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            fill(array)
            with writing(self.root, _KIND):
                array.flush()
                del array
                _seal(path).write_text(file_sha256(Path(temporary)))
                Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)


def _seal(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _open(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The map, if its bytes are those that were written: a damaged cache would give wrong numbers silently."""
    try:
        array = np.load(path, mmap_mode="r")
        if file_sha256(path) != _seal(path).read_text():
            return None
    except (OSError, ValueError, EOFError):  # not there yet, or damaged: it is made (again)
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None
