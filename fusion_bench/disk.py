"""Room on disk, asked for before work starts whose result could not be written."""

from __future__ import annotations

import shutil
from pathlib import Path

from fusion_bench.errors import FusionBenchError


def check_room(place: Path, needed: int, *, what: str, hint: str) -> None:
    """Refuse work whose result could not be written.

    Args:
        place: a file or folder, which need not be there yet.
        needed: bytes that it will take.
        what: takes them, for the message.
        hint: what to do about it.

    Raises:
        FusionBenchError: fewer bytes are free there.
    """
    there = nearest_folder(place)
    free = shutil.disk_usage(there).free
    if free < needed:
        raise FusionBenchError(f"{what} takes {byte_text(needed)} and {there} has {byte_text(free)} free", hint=hint)


def nearest_folder(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def byte_text(count: int) -> str:
    """Bytes for people.

    Example:
        >>> byte_text(1_400_000_000), byte_text(26_400_000), byte_text(1_200)
        ('1.4 GB', '26 MB', '1 kB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.{0 if count >= 10 * unit else 1}f} {name}"
    return f"{count / 1e3:.0f} kB"
