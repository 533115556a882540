"""One large file from the hub into its cache: goes on where it stopped, and is not there before its sum is right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from fusion_bench.errors import FusionBenchError
from fusion_bench.hub.headers import is_page
from fusion_bench.hub.places import cache_folder, repository
from fusion_bench.hub.source import Source
from fusion_bench.hub.trouble import endpoint, said

_BLOCK = 1 << 20

Tell = Callable[[int], None]
"""Called with bytes as they come."""


def blob(source: Source, digest: str) -> Path:
    """Where the cache keeps the content of a large file, whatever its names are."""
    return repository(source) / "blobs" / digest


def partial(source: Source, digest: str) -> Path:
    """Where what has come of it waits for the rest."""
    return repository(source) / "blobs" / f"{digest}.fusion_bench.incomplete"


def transfer(
    source: Source, commit: str, name: str, size: int, digest: str, *, tell: Tell, pool: str | None = None
) -> None:
    """Bring a large file into the hub's cache, under its sum, as huggingface_hub does.

    That library fetches a file anew where it was cut off, so here is a way that goes on; the rest is left to it.

    Args:
        name: of the file at the commit.
        size, digest: as the hub states them; ``digest`` is its SHA-256.
        tell: gets the bytes that came, counting those that were here.

    Raises:
        FusionBenchError: what came is not what the hub states; it is thrown away.
    """
    from huggingface_hub import hf_hub_url

    whole, part = blob(source, digest), partial(source, digest)
    lock = cache_folder() / ".locks" / repository(source).name / f"{digest}.lock"
    for folder in (whole.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # the one that huggingface_hub takes
        if whole.is_file():
            tell(size)
            return
        url = hf_hub_url(source.id, name, repo_type=source.kind, revision=commit, endpoint=endpoint())
        try:
            found = _appended(part, url, size, tell)
        finally:  # what a proxy sent may have ended in an error, and must not be gone on from
            _refuse_page(part, f"{said(source, pool)}: a page of HTML came in the place of {name}")
        if found != digest:
            part.unlink()
            raise FusionBenchError(
                f"{said(source, pool)}: {name} came with the SHA-256 {found[:16]}…, the hub states {digest[:16]}…",
                hint="what came was thrown away; fetch again, and where that repeats, ask who runs the mirror or proxy",
            )
        part.replace(whole)


def _appended(part: Path, url: str, size: int, tell: Tell) -> str:
    """Bring the rest of a file; the sum of all of it."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    with part.open("a+b") as file:
        here = file.tell()
        if here > size:
            file.truncate(here := 0)
        counted: Any = _Counted(file, tell, begin=here)
        counted.know()
        if here < size:
            http_get(url, counted, resume_size=here, headers=build_hf_headers(), expected_size=size)
    digest: str = counted.digest
    return digest


def _refuse_page(part: Path, message: str) -> None:
    with part.open("rb") as file:
        page = is_page(file.read(256))
    if page:
        part.unlink()
        raise FusionBenchError(
            message, hint="a proxy or a log-in page stands between; a mirror is named by HF_ENDPOINT"
        )


def check_sum(source: Source, name: str, path: Path, digest: str, *, tell: Tell, pool: str | None = None) -> None:
    """Refuse a file that is here already and is another than is stated; it is left where it is.

    Raises:
        FusionBenchError: its SHA-256 is another.
    """
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
            tell(len(block))
    if found.hexdigest() != digest:
        raise FusionBenchError(
            f"{said(source, pool)}: {name} has the SHA-256 {found.hexdigest()[:16]}…, not {digest[:16]}… as is stated",
            hint=f"it was altered or damaged; remove {path.resolve()} and fetch again",
        )


class _Counted:
    """A file that is written to: the bytes are told, and summed as they come."""

    def __init__(self, file: IO[bytes], tell: Tell, *, begin: int) -> None:
        self._file, self._tell, self._begin = file, tell, begin
        self._sum, self._told = hashlib.sha256(), 0

    @property
    def digest(self) -> str:
        return self._sum.hexdigest()

    def know(self) -> None:
        """Sum what is in the file already."""
        self._sum = hashlib.sha256()
        self._file.seek(0)
        left = self._begin
        while left and (block := self._file.read(min(_BLOCK, left))):
            self._sum.update(block)
            left -= len(block)
        self._count(self._begin)

    def write(self, block: bytes) -> int:
        self._sum.update(block)
        self._count(len(block))
        return self._file.write(block)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def truncate(self, size: int | None = None) -> int:
        """Forget what came: who answers does not go on, and begins again."""
        done = self._file.truncate(size)
        self._begin = self._file.seek(0, 2)
        self._count(-self._told)
        self.know()
        return done

    def flush(self) -> None:
        self._file.flush()

    def _count(self, count: int) -> None:
        self._told += count
        self._tell(count)
