"""Merging to disk: where each byte of the result goes is known before the first is read."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.file_checkpoint import FileCheckpoint, Traffic
from fusion_bench.weights.header import Header, Spec, make_header
from fusion_bench.weights.plan import Plan
from fusion_bench.weights.spans import Span, laid_out, runs
from fusion_bench.weights.suffixes import SAFETENSORS, is_weights

_FLUSH = 64 * 2**20  # bytes written between two flushes to disk, which run beside the work
INDEX = "model.safetensors.index.json"


def layout(plan: Plan, out: Path) -> dict[str, Header]:
    """File names to headers: sharded like the base where the result is a folder, else one file.

    Tied names are written once each: the format has no ties.
    """
    base, single = plan.base, out.name if out.suffix == SAFETENSORS else "model.safetensors"
    if isinstance(base, FileCheckpoint) and plan.specs is base.specs and _is_plain(base.headers):
        # the same tensors of the same types: the base's own headers, which for 100,000 tensors saves a second
        if len(base.files) == 1:
            return {single: base.headers[0]}
        if out.suffix != SAFETENSORS:
            return {path.name: header for path, header in zip(base.files, base.headers, strict=True)}
    if isinstance(base, FileCheckpoint) and len(base.files) > 1 and out.suffix != SAFETENSORS:
        shards: dict[int, list[tuple[str, Spec]]] = {}
        for name, spec in plan.specs.items():
            shards.setdefault(base.shard(name), []).append((name, spec))
        return {base.files[number].name: make_header(specs, {"format": "pt"}) for number, specs in shards.items()}
    return {single: make_header(plan.specs.items(), {"format": "pt"})}


def _is_plain(headers: Sequence[Header]) -> bool:
    """Whether headers say nothing of their model that would not hold for another."""
    return all(header.metadata == {"format": "pt"} for header in headers)


class FileSink:
    """Files that are being filled, every entry at its final place.

    Args:
        folder: where they are.
        headers: by file name.
        aliases: names that are another name's tensor; they get a copy of their own.
    """

    def __init__(self, folder: Path, headers: Mapping[str, Header], aliases: Mapping[str, str]) -> None:
        self.traffic = Traffic()
        self._descriptors: list[int] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._size: dict[str, int] = {}
        self._copies: dict[str, list[str]] = {}
        for alias, first in aliases.items():
            self._copies.setdefault(first, []).append(alias)
        try:
            self._lay_out(folder, headers)
        except OSError:
            self._close_files()
            raise
        self._flusher = _Flusher(self._descriptors)

    def write(self, spans: Sequence[Span], entries: Tensor) -> None:
        began = time.perf_counter()
        data = _bytes_of(entries)
        at, size = 0, self._size[spans[0].name]
        for number, begin, end in runs(spans, self._places, size):
            _write_all(self._descriptors[number], data[at : at + end - begin], begin)
            at += end - begin
        for (name, start, _), first, last in laid_out(spans) if self._copies else ():
            for alias in self._copies.get(name, ()):
                other, place = self._places[alias]
                _write_all(self._descriptors[other], data[first * size : last * size], place + start * size)
        self._flusher.wrote(len(data))
        self.traffic.add(len(data), time.perf_counter() - began)

    def close(self) -> None:
        """Everything is on disk, or given up."""
        self._flusher.stop()
        self._close_files()

    def _lay_out(self, folder: Path, headers: Mapping[str, Header]) -> None:
        for number, (name, header) in enumerate(headers.items()):
            descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
            self._descriptors.append(descriptor)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, header.size)  # no space is found out now, not in the middle
            _write_all(descriptor, memoryview(len(header.raw).to_bytes(8, "little") + header.raw), 0)
            for tensor, offset in header.offsets.items():
                self._places[tensor] = (number, offset)
                self._size[tensor] = header.specs[tensor].dtype.itemsize

    def _close_files(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


class _Flusher:
    """Brings written bytes to disk in a thread of its own, so that little is left to wait for at the end."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors, self._pending = descriptors, 0
        self._lock, self._due, self._over = threading.Lock(), threading.Event(), False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def wrote(self, count: int) -> None:
        with self._lock:
            self._pending += count
            if self._pending >= _FLUSH:
                self._pending = 0
                self._due.set()

    def stop(self) -> None:
        self._over = True
        self._due.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._due.wait()
            if self._over:
                return
            self._due.clear()
            for descriptor in list(self._descriptors):
                os.fsync(descriptor)


@contextmanager
def file_sink(plan: Plan, headers: Mapping[str, Header], part: Path, out: Path) -> Iterator[FileSink]:
    """The sink that fills a temporary file or folder ``part``, laid out by ``headers``, to be published as ``out``.

    Raises:
        FusionBenchError: no space, or another error of the file system.
    """
    folder = part.parent if out.suffix == SAFETENSORS else part
    if out.suffix == SAFETENSORS:
        headers = {part.name: headers[out.name]}
    sink = None
    try:
        sink = FileSink(folder, headers, plan.aliases)
        yield sink
        if out.suffix != SAFETENSORS:
            if len(headers) > 1:
                _write_index(part, headers)
            copy_companions(plan.base, part)
            if plan.specs is not plan.base.specs:
                _restate_dtype(part / "config.json", plan)
    except OSError as error:
        raise FusionBenchError(
            f"cannot write {out}: {error.strerror}", hint="check the space left on the disk"
        ) from error
    finally:
        if sink is not None:
            sink.close()


def copy_companions(base: Checkpoint, folder: Path) -> None:
    """Copy what lies beside the base's weights: configuration, tokenizer, code; no weights, no model card."""
    if not base.files or not (base.files[0].parent / "config.json").is_file():
        return
    for path in sorted(base.files[0].parent.iterdir()):
        weights = is_weights(path) or path.name.endswith(".index.json")
        if path.is_file() and not weights and not path.name.startswith(".") and path.name != "README.md":
            shutil.copyfile(path, folder / path.name)


def _restate_dtype(config: Path, plan: Plan) -> None:
    """Where a configuration says in what type the weights are, say what they are now: it is loaded as what it says."""
    if not config.is_file():
        return
    stated = json.loads(config.read_text(encoding="utf-8"))
    kinds = {spec.dtype for spec in plan.specs.values() if spec.dtype.is_floating_point}
    for key in ("dtype", "torch_dtype"):
        if isinstance(stated, dict) and key in stated and len(kinds) == 1:
            stated[key] = str(next(iter(kinds))).removeprefix("torch.")
    config.write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")


def _write_index(folder: Path, headers: Mapping[str, Header]) -> None:
    total = sum(spec.nbytes for header in headers.values() for spec in header.specs.values())
    where = {name: file for file, header in headers.items() for name in header.specs}
    table = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    (folder / INDEX).write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def _bytes_of(entries: Tensor) -> memoryview:
    if entries.device.type == "cpu" and entries.dtype == torch.float32 and entries.is_contiguous():
        return entries.numpy().data.cast("B")  # without torch, which would give Python's lock away
    return memoryview(entries.contiguous().cpu().view(torch.uint8).numpy())  # type: ignore[arg-type]


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)
