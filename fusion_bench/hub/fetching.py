"""Fetching: several sources at once, whole or told why not, with sums looked at."""

from __future__ import annotations

import contextlib
import glob
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from fusion_bench.disk import byte_text, check_room
from fusion_bench.errors import FusionBenchError
from fusion_bench.hub.checking import Checked, check
from fusion_bench.hub.places import cache_folder, local, missing
from fusion_bench.hub.source import Source
from fusion_bench.hub.transfer import blob, check_sum, partial, transfer
from fusion_bench.hub.trouble import as_error, endpoint, said
from fusion_bench.progress import Progress, silent

WORKERS = 8


def fetch(
    sources: Mapping[str, Source], *, progress: Progress = silent, workers: int = WORKERS
) -> dict[str, Path | FusionBenchError]:
    """Bring sources of the hub into its cache.

    What is there already is not fetched again but its sums are looked at; what was cut off goes on. A source that
    cannot be had leaves the others to go on.

    Args:
        sources: by how messages call them (``pool: role``).
        progress: ``fetch 1.2 of 3.4 GB`` with bytes, then ``verify``.
        workers: files at once.

    Returns:
        For each its folder (the sub-folder that is meant), or why it is not here.

    Raises:
        FusionBenchError: the disk has not the room for all that is missing.
    """
    found: dict[str, Path | FusionBenchError] = {}
    asked: dict[str, Source] = {}
    for name, source in sources.items():
        if source.place == "hub":
            asked[name] = source
        else:
            found[name] = local(source) or FusionBenchError(f"{said(source, name)}: {missing(source)}")
    known = [source.id for source in asked.values()]
    count = _Count(progress)

    def told(error: Exception, name: str) -> FusionBenchError:
        return as_error(error, asked[name], pool=name, known=known)

    with _no_bars(), count:
        listed = _each(asked, lambda name, of: check(of, pool=name, known=known, headers=False), workers, told)
        checked = {name: one for name, one in listed.items() if isinstance(one, Checked)}
        found |= {name: one for name, one in listed.items() if isinstance(one, FusionBenchError)}
        _check_room(checked.values())
        failed = _transferred(checked, count, workers, told)
        rest = {name: one for name, one in checked.items() if name not in failed}
        done = _each(rest, _completed, max(1, workers // 4), told)
        folders = {name: folder for name, folder in done.items() if isinstance(folder, Path)}
        sizes = (size for name in folders for size, _ in _large(checked[name]).values())
        count.begin("verify", sum(sizes))
        sums = _each(folders, lambda name, folder: _verified(checked[name], folder, name, count), workers, told)
    inside = {name: folder / (asked[name].subfolder or "") for name, folder in folders.items()}
    found |= failed | done | inside | {name: one for name, one in sums.items() if isinstance(one, FusionBenchError)}
    return {name: found[name] for name in sources}


def _check_room(checked: Iterable[Checked]) -> None:
    files = {
        blob(one.source, digest): size - _there(partial(one.source, digest))
        for one in checked
        for size, digest in _large(one).values()
        if not blob(one.source, digest).exists()
    }
    check_room(
        cache_folder(), sum(files.values()), what="what is missing", hint="free some, or set HF_HOME to another disk"
    )


def _there(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _large(one: Checked) -> dict[str, tuple[int, str]]:
    """The files that the hub states a sum for: all that are large."""
    return {name: (size, digest) for name, (size, digest) in one.files.items() if digest is not None}


def _transferred(
    checked: Mapping[str, Checked], count: _Count, workers: int, told: Callable[[Exception, str], FusionBenchError]
) -> dict[str, FusionBenchError]:
    """Fetch large files; what went wrong, by source."""
    jobs: dict[Path, tuple[str, str, int, str]] = {}
    for source, one in checked.items():
        for name, (size, digest) in _large(one).items():
            place = blob(one.source, digest)
            if not place.exists():
                jobs.setdefault(place, (source, name, size, digest))
    count.begin("fetch", sum(size for _, _, size, _ in jobs.values()))

    def bring(place: Path, job: tuple[str, str, int, str]) -> None:
        source, name, size, digest = job
        one = checked[source]
        transfer(one.source, one.commit, name, size, digest, tell=count.add, pool=source)
        count.came.add(place)

    done = _each(jobs, bring, workers, lambda error, place: told(error, jobs[place][0]))
    wrong = {place: error for place, error in done.items() if error is not None}
    failed: dict[str, FusionBenchError] = {}
    for source, one in checked.items():
        for _, digest in _large(one).values():
            if blob(one.source, digest) in wrong:
                failed.setdefault(source, wrong[blob(one.source, digest)])
    return failed


def _completed(name: str, one: Checked) -> Path:
    """The small files, and the names of all in the cache, as huggingface_hub has them."""
    from huggingface_hub import snapshot_download

    patterns = [glob.escape(file) for file in one.files]
    revision = one.source.revision
    folder = Path(
        snapshot_download(
            one.source.id,
            repo_type=one.source.kind,
            revision=revision,
            cache_dir=cache_folder(),
            endpoint=endpoint(),
            allow_patterns=patterns,
            max_workers=2,
        )
    )
    os.utime(folder)  # later than whatever was cut off before: places.local goes by that
    lost = [file for file in one.files if not (folder / file).is_file()]
    if lost:
        raise FusionBenchError(
            f"{said(one.source, name)}: it changed while it was fetched: {lost[0]} is not there", hint="fetch again"
        )
    return folder


def _verified(one: Checked, folder: Path, pool: str, count: _Count) -> None:
    """Look at the sums of what was here before: what came was looked at on its way."""
    for name, (size, digest) in _large(one).items():
        if blob(one.source, digest) in count.came:
            count.add(size)
        else:
            check_sum(one.source, name, folder / name, digest, tell=count.add, pool=pool)


class _Count:
    """Bytes of all threads together, told as one progress; ends the threads when the work is given up."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock, self._ended = progress, threading.Lock(), False
        self._what, self._done, self._total = "", 0, 0
        self.came: set[Path] = set()  # blobs that were fetched now

    def __enter__(self) -> _Count:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True

    def begin(self, what: str, total: int) -> None:
        """Another stage."""
        with self._lock:
            self._what, self._done, self._total = what, 0, total
        if total:
            self.add(0)

    def add(self, count: int) -> None:
        """Bytes that a thread did."""
        if self._ended:
            raise InterruptedError("given up")
        with self._lock:
            self._done += count
            stage = f"{self._what} {byte_text(self._done)} of {byte_text(self._total)}"
            self._progress(stage, self._done, self._total)


K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


def _each(
    items: Mapping[K, V], work: Callable[[K, V], R], workers: int, told: Callable[[Exception, K], FusionBenchError]
) -> dict[K, R | FusionBenchError]:
    """What ``work`` returns for every item, several at once; where it raises, that error."""

    def one(key: K, value: V) -> R | FusionBenchError:
        try:
            return work(key, value)
        except Exception as error:  # the others go on
            return told(error, key)

    threads = ThreadPoolExecutor(max_workers=workers)
    try:
        futures = {key: threads.submit(one, key, value) for key, value in items.items()}
        return {key: future.result() for key, future in futures.items()}
    finally:  # after Ctrl-C nobody waits for what has not begun; what has ends at its next bytes
        threads.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """No bars of huggingface_hub's own beside ours."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()
