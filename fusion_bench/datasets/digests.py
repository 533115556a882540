"""Digests of files: which bytes went into a merge, and what a pool is made of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from fusion_bench.datasets.manifest import file_sha256
from fusion_bench.errors import unknown_name
from fusion_bench.progress import Progress, silent

Digest: TypeAlias = Literal["blake3", "sha256"]
"""BLAKE3 (``b3sum`` prints it) takes a fifth of the time; SHA-256 is what model hubs show of a file."""

_BLOB = re.compile(r"[0-9a-f]{64}")


def digest_kind(value: str | bool | None) -> Digest | None:
    """The digest that is meant: true is ``blake3``, false is none.

    Raises:
        FusionBenchError: another name.

    Example:
        >>> digest_kind("sha256"), digest_kind(True), digest_kind(False)
        ('sha256', 'blake3', None)
    """
    if not value:
        return None
    if value is True:
        return "blake3"
    if value not in get_args(Digest):
        raise unknown_name("digest", str(value), get_args(Digest), where="hashes")
    return value  # type: ignore[return-value]


def digests(
    files: Sequence[Path], kind: Digest | None, *, threads: int, progress: Progress = silent
) -> dict[Path, str]:
    """The digests of some files, in hexadecimal digits; of none where no kind is wanted."""
    if kind is None:
        return {}
    from fusion_bench.weights.parallel import map_in_threads  # numba and torch, which a manifest does not need

    def tick(done: int) -> None:
        progress("hash files", done, len(files))

    one: Callable[[Path], str] = _blake3 if kind == "blake3" else file_sha256
    return dict(zip(files, map_in_threads(one, files, threads=threads, tick=tick), strict=True))


def content_sum(path: Path) -> str:
    """A digest of one file, which takes no time where the hub's cache has it: large files are called by their SHA-256.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "a"
        ...     count = file.write_bytes(b"abc")
        ...     content_sum(file)[:16]
        '6437b3ac38465133'
    """
    name = Path(os.path.realpath(path)).name
    return name if _BLOB.fullmatch(name) else _blake3(path)


def _blake3(path: Path) -> str:
    from blake3 import blake3

    return blake3().update_mmap(path).hexdigest()
