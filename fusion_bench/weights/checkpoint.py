"""A checkpoint: one lazy mapping of names to tensors, wherever the tensors are.

What tensors mean here, for every kind of checkpoint:

- Floating tensors are fused. All others (counters, indices, masks) are carried over from the base.
- A tensor is its values in row-major order. Strides are not kept; 0-d and empty tensors are tensors like others.
- Names that share one memory in the base and in every expert (tied weights of a state dict) are one tensor: fused once,
  under the first name, and shared again in the result. Anything less than sharing all of it is no tie.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.compiled.fetch import Stretch
from fusion_bench.weights.header import Header, Spec


class Span(NamedTuple):
    """Entries ``start`` to ``stop`` of a flattened tensor."""

    name: str
    start: int
    stop: int


def laid_out(spans: Sequence[Span]) -> Iterator[tuple[Span, int, int]]:
    """Each span with where its entries begin and end when all stand one after the other.

    Example:
        >>> [(begin, end) for _, begin, end in laid_out([Span("a", 3, 5), Span("b", 0, 4)])]
        [(0, 2), (2, 6)]
    """
    at = 0
    for span in spans:
        yield span, at, at + span.stop - span.start
        at += span.stop - span.start


def located(spans: Sequence[Span], position: int) -> tuple[str, int]:
    """The tensor, and the entry of it, that stands at a position of the spans laid out.

    Example:
        >>> located([Span("a", 3, 5), Span("b", 0, 4)], 3)
        ('b', 1)
    """
    return next((span.name, span.start + position - at) for span, at, end in laid_out(spans) if position < end)


def runs(spans: Sequence[Span], places: Mapping[str, tuple[int, int]], size: int) -> list[tuple[int, int, int]]:
    """Spans as stretches of bytes in files (number, begin, end), those that follow one another in a file joined.

    Args:
        spans: of tensors of one type.
        places: names to file and position of the first byte.
        size: bytes of an entry.
    """
    found: list[tuple[int, int, int]] = []
    for name, start, stop in spans:
        number, offset = places[name]
        begin, end = offset + start * size, offset + stop * size
        if found and found[-1][0] == number and found[-1][2] == begin:
            begin = found.pop()[1]
        found.append((number, begin, end))
    return found


class Factors(NamedTuple):
    """A low-rank task vector Δ = ``left`` (m, r) · ``right`` (r, n), ``float64``."""

    left: Tensor
    right: Tensor


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


class Checkpoint(Mapping[str, Tensor], ABC):
    """Names to tensors; ``specs`` tells shapes and types without reading any.

    Attributes:
        label: how messages call it: a path, or a given name.
        specs: names to shape and type, in the order of the data.
    """

    label: str
    specs: Mapping[str, Spec]

    @abstractmethod
    def gather(self, spans: Sequence[Span]) -> Tensor:
        """The entries of several spans of one type, one after the other, as a flat tensor not to be written to."""

    def fill(self, spans: Sequence[Span], row: Tensor) -> None:
        """Write what ``gather`` gives to a flat tensor of its size, converted to its type."""
        row.copy_(self.gather(spans))

    def __getitem__(self, name: str) -> Tensor:
        spec = self.specs[name]
        return self.gather([Span(name, 0, spec.numel)]).reshape(spec.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __contains__(self, name: object) -> bool:
        return name in self.specs

    def place(self, name: str) -> str:
        """Where a tensor is, for messages."""
        return self.label

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return torch.device("cpu")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it reads."""
        return ()

    @property
    def aliases(self) -> Mapping[str, str]:
        """Names that are another name's tensor, to that name."""
        return {}

    def factors(self, name: str) -> Factors | None:
        """The low-rank difference to its base, where it is stored as one."""
        return None

    def close(self) -> None:
        """Give files back; reading is over."""


class StateCheckpoint(Checkpoint):
    """A state dict in memory.

    Example:
        >>> checkpoint = StateCheckpoint({"w": torch.arange(6.0).reshape(2, 3)}, label="mine")
        >>> checkpoint.gather([Span("w", 1, 3)]), checkpoint["w"].shape
        (tensor([1., 2.]), torch.Size([2, 3]))
    """

    def __init__(self, state: Mapping[str, Tensor], *, label: str, files: tuple[Path, ...] = ()) -> None:
        self.label, self._files = label, files
        for name, tensor in state.items():
            if not isinstance(tensor, Tensor):
                raise FusionBenchError(
                    f"{label}: {name!r} is a {type(tensor).__name__}, not a tensor",
                    hint="give a state dict: names to tensors",
                )
            if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
                kind = "holds no numbers" if tensor.is_meta else "is sparse or quantised"
                raise FusionBenchError(f"{label}: tensor {name!r} {kind}", hint="give dense tensors")
        self._state = {name: tensor.detach() for name, tensor in state.items()}
        self.specs = {name: Spec(tuple(t.shape), t.dtype) for name, t in self._state.items()}
        self._flat: dict[str, Tensor] = {}

    def gather(self, spans: Sequence[Span]) -> Tensor:
        parts = [self._flattened(span.name)[span.start : span.stop] for span in spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def __getitem__(self, name: str) -> Tensor:
        return self._state[name]

    @property
    def device(self) -> torch.device:
        return next((tensor.device for tensor in self._state.values()), torch.device("cpu"))

    @property
    def files(self) -> tuple[Path, ...]:
        return self._files

    @property
    def aliases(self) -> Mapping[str, str]:
        first: dict[tuple[object, ...], str] = {}
        found = {}
        for name, t in self._state.items():
            if t.numel():
                key = (t.device, t.data_ptr(), t.dtype, tuple(t.shape), t.stride())
                if first.setdefault(key, name) != name:
                    found[name] = first[key]
        return found

    def _flattened(self, name: str) -> Tensor:
        if name not in self._flat:  # a strided tensor is copied once; two threads that both do it copy the same
            self._flat[name] = self._state[name].reshape(-1)
        return self._flat[name]


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
