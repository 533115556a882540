"""Safetensors files as a checkpoint, read in place: what is asked for, and nothing else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.compiled.fetch import Stretch
from fusion_bench.weights.header import Header, Spec
from fusion_bench.weights.spans import Span, runs


class Traffic:
    """Bytes moved, and the seconds that threads waited for them, added up over threads."""

    def __init__(self) -> None:
        self.bytes, self.seconds = 0, 0.0
        self._lock = threading.Lock()

    def add(self, count: int, seconds: float) -> None:
        """One transfer."""
        with self._lock:
            self.bytes += count
            self.seconds += seconds


class FileCheckpoint(Checkpoint):
    """One or more safetensors files read with ``pread``: no tensor is mapped or kept, every file is opened once.

    Attributes:
        places: names to the number of the file and the tensor's first byte in it.

    Args:
        headers: the files with their headers, in natural order of the shards.
        label: for messages.
    """

    def __init__(self, headers: Mapping[Path, Header], *, label: str) -> None:
        self.label, self.traffic = label, Traffic()
        self._paths = tuple(headers)
        self.headers = tuple(headers.values())
        self._descriptors: list[int] = []
        self.specs, self.places = _tables(self.headers)
        if len(self.specs) < sum(len(header.specs) for header in self.headers):
            self._refuse_twice()
        try:
            self._descriptors.extend(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)) for path in self._paths)
        except OSError as error:
            self.close()
            raise FusionBenchError(f"cannot open {error.filename}: {error.strerror}") from error

    def gather(self, spans: Sequence[Span]) -> Tensor:
        count = sum(span.stop - span.start for span in spans)
        entries = torch.empty(count, dtype=self.specs[spans[0].name].dtype)
        self.fill(spans, entries)
        return entries

    def stretches(self, found: Sequence[tuple[int, int, int]]) -> list[Stretch]:
        """What ``runs`` found among ``places``, with the open files."""
        return [Stretch(self._descriptors[number], begin, end) for number, begin, end in found]

    def part(self, names: Mapping[str, str]) -> FileCheckpoint:
        """Some of its tensors, or all, under other names, read from the same files just as fast.

        Args:
            names: of every tensor of the result, to the name that it is stored under.
        """
        found = FileCheckpoint(dict(zip(self._paths, self.headers, strict=True)), label=self.label)
        found.specs = {name: self.specs[stored] for name, stored in names.items()}
        found.places = {name: self.places[stored] for name, stored in names.items()}
        return found

    def place(self, name: str) -> str:
        return str(self._paths[self.places[name][0]])

    def shard(self, name: str) -> int:
        """The number of the file that holds a tensor."""
        return self.places[name][0]

    @property
    def files(self) -> tuple[Path, ...]:
        return self._paths

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __del__(self) -> None:
        self.close()

    def fill(self, spans: Sequence[Span], row: Tensor) -> None:
        if row.dtype != self.specs[spans[0].name].dtype or row.device.type != "cpu":
            super().fill(spans, row)
        elif row.numel():
            self.read(spans, memoryview(row.view(torch.uint8).numpy()))  # type: ignore[arg-type]

    def read(self, spans: Sequence[Span], into: memoryview) -> None:
        """The bytes of some entries of one type, one after the other.

        Raises:
            FusionBenchError: the file cannot be read, or has become shorter.
        """
        at = 0
        for number, begin, end in runs(spans, self.places, self.specs[spans[0].name].dtype.itemsize):
            self._read(number, begin, into[at : at + end - begin])
            at += end - begin

    def _refuse_twice(self) -> None:
        seen: dict[str, Path] = {}
        for path, header in zip(self._paths, self.headers, strict=True):
            for name in header.specs:
                if name in seen:
                    raise FusionBenchError(
                        f"tensor {name!r} is in {path.name} and in {seen[name].name} of {self.label}"
                    )
                seen[name] = path

    def _read(self, number: int, offset: int, into: memoryview) -> None:
        done, began = 0, time.perf_counter()
        while done < len(into):
            try:
                count = os.preadv(self._descriptors[number], [into[done:]], offset + done)
            except OSError as error:
                raise FusionBenchError(f"cannot read {self._paths[number]}: {error.strerror}") from error
            if count == 0:
                raise FusionBenchError(
                    f"{self._paths[number]} became shorter while it was read", hint="let nothing write to it meanwhile"
                )
            done += count
        self.traffic.add(done, time.perf_counter() - began)


@lru_cache(maxsize=4)  # models of one layout have the same headers
def _tables(headers: tuple[Header, ...]) -> tuple[Mapping[str, Spec], Mapping[str, tuple[int, int]]]:
    """The specs of several files together, and for every name the number of its file and its first byte there.

    The same objects for the same headers, so that comparing them takes no time.
    """
    places = {name: (number, offset) for number, h in enumerate(headers) for name, offset in h.offsets.items()}
    return {name: spec for header in headers for name, spec in header.specs.items()}, places
