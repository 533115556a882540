"""A file or folder that appears under its name only when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fusion_bench.disk import check_room
from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.suffixes import HUB, SAFETENSORS


def check_target(out: Path, inputs: Sequence[Path], *, overwrite: bool, needed: int) -> None:
    """Refuse a target that is an input or inside one, that would replace what is not a checkpoint, or has no room.

    Args:
        out: the file or folder to be made.
        inputs: files that will be read, and folders.
        overwrite: whether a checkpoint that is there may be replaced.
        needed: bytes that will be written.

    Raises:
        FusionBenchError: one of these.
    """
    try:
        _check_inputs(out, inputs)
        _check_replaced(out, overwrite)
        above = next(path for path in out.absolute().parents if path.exists() or path.is_symlink())
        if not above.is_dir():
            raise FusionBenchError(f"{above} is no folder", hint="write somewhere else")
        if not os.access(above, os.W_OK):
            raise FusionBenchError(f"{above} cannot be written to", hint="check its permissions, or write elsewhere")
        check_room(out, needed, what=str(out), hint="make room, or write elsewhere")
    except OSError as error:
        raise FusionBenchError(f"cannot write {out}: {error.strerror}", hint="give another name") from error


def card_of(out: Path) -> Path:
    """Where the model card of a result lies: in the folder, or beside the file."""
    return out.with_suffix(".md") if out.suffix == SAFETENSORS else out / "README.md"


def _check_inputs(out: Path, inputs: Sequence[Path]) -> None:
    real = out.resolve()
    for path in inputs:
        resolved = path.resolve()
        if real == resolved or real in resolved.parents or (out.is_file() and out.samefile(path)):
            raise FusionBenchError(f"the output {out} is or holds the input {path}", hint="write somewhere else")
        if resolved.is_dir() and resolved in real.parents:
            raise FusionBenchError(f"the output {out} lies inside the input {path}", hint="write somewhere else")


def _check_replaced(out: Path, overwrite: bool) -> None:
    """What is there may be replaced on request, if it is a checkpoint and nothing else."""
    if out.is_symlink() and not out.exists():
        raise FusionBenchError(f"{out} is a link to what is not there", hint="give another name")
    if out.exists() and not overwrite:
        raise FusionBenchError(f"{out} exists", hint="give another name, or overwrite=true to replace it")
    card = card_of(out)
    if out.suffix == SAFETENSORS and card.exists() and not _is_ours(card):
        raise FusionBenchError(f"{card} is there, where the model card would go", hint="give another name")
    if out.exists() and out.is_dir() != (out.suffix != SAFETENSORS):
        raise FusionBenchError(f"{out} is a {'folder' if out.is_dir() else 'file'}", hint="give another name")
    if out.is_dir():
        kept = sorted(path.name for path in out.iterdir() if path.is_dir())
        if kept:
            raise FusionBenchError(f"{out} holds the folder {kept[0]}, which would be lost", hint="give another name")
        if not any(path.suffix in HUB for path in out.iterdir()) and any(out.iterdir()):
            raise FusionBenchError(f"{out} holds no weights: it is no checkpoint to replace", hint="give another name")


def _is_ours(card: Path) -> bool:
    return "by fusion_bench" in card.read_text(encoding="utf-8", errors="replace")


@contextmanager
def published(out: Path) -> Iterator[Path]:
    """A temporary file (for a name that ends in ``.safetensors``) or folder beside ``out``, renamed to it at the end.

    What a killed process left behind is removed by the next one that writes there; of two at once the second is
    refused. After an error nothing stays.

    Raises:
        FusionBenchError: another process writes there, or the folder cannot be written.
    """
    part = out.with_name(f".{out.name}.part")
    folder = out.suffix != SAFETENSORS
    lock = -1
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = _claim(part, folder)
    except OSError as error:
        raise FusionBenchError(f"cannot write {part}: {error.strerror}", hint="check permissions and space") from error
    try:
        yield part
        _sync(part)
        _swap(part, out)
    except OSError as error:
        raise FusionBenchError(f"cannot write {out}: {error.strerror}", hint="check permissions and space") from error
    finally:
        _remove(part)
        os.close(lock)


def _claim(part: Path, folder: bool) -> int:
    """An open, locked descriptor of the temporary file or folder, emptied."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: two merges to one name are the user's to avoid
        fcntl = None  # type: ignore[assignment]
    if folder:
        part.mkdir(exist_ok=True)
    descriptor = os.open(part, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT, 0o666)
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise FusionBenchError(
                f"another process is writing {part}", hint="wait for it, or write elsewhere"
            ) from None
    if folder:
        for path in part.iterdir():
            _remove(path)
    else:
        os.ftruncate(descriptor, 0)
    return descriptor


def _swap(part: Path, out: Path) -> None:
    """Rename; a folder that is replaced steps aside first, since a rename cannot replace a folder that is not empty."""
    old = out.with_name(f".{out.name}.old")
    _remove(old)
    if out.is_dir():
        os.rename(out, old)  # noqa: PTH104
    os.replace(part, out)  # noqa: PTH105
    _remove(old)
    _sync(out.parent, recursive=False)


def _sync(path: Path, *, recursive: bool = True) -> None:
    if path.is_dir() and recursive:
        for inner in path.iterdir():
            _sync(inner)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
