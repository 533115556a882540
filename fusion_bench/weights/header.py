"""The header of a safetensors file: where each tensor lies, checked before a byte of data is read.

The format: eight bytes that say how long the header is (little-endian), the header (JSON: names to type, shape and
offsets), then the data without holes. The safetensors library reads it too, but does not say where a tensor lies.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fusion_bench.errors import FusionBenchError

_LONGEST = 100_000_000  # the safetensors library's own limit
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "U16": torch.uint16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class Spec(NamedTuple):
    """What a header tells of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numel(self) -> int:
        """How many entries it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Header:
    """The tensors of one file in the order of their data.

    Attributes:
        specs: names to shape and type.
        offsets: names to the position of the first byte, counted from the start of the file.
        metadata: the file's own strings.
        size: bytes of the whole file.
        raw: the header as it stands in the file; equal bytes mean equal layout.
    """

    specs: Mapping[str, Spec]
    offsets: Mapping[str, int]
    metadata: Mapping[str, str]
    size: int
    raw: bytes


def read_header(path: str | os.PathLike[str], *, like: Header | None = None) -> Header:
    """Read and check the header of a safetensors file.

    Args:
        path: the file.
        like: a header already read; where the bytes agree it is returned for this file too.

    Raises:
        FusionBenchError: the file is missing, truncated, too long for its header, or the header is malformed: not
            JSON, a name twice, a type that does not exist, offsets that overlap, leave holes or do not fit the shape.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or size < 8 + length or not 2 <= length <= _LONGEST:
                raise _Malformed(f"its header claims {length:,} bytes, the file has {size:,}")
            raw = file.read(length)
    except OSError as error:
        raise FusionBenchError(f"cannot read {path}: {error.strerror or error}") from error
    except _Malformed as error:
        raise _refusal(path, error) from None
    if like is not None and like.raw == raw and like.size == size:
        return like
    try:
        specs, offsets, metadata = _parse(raw, size - 8 - length)
    except _Malformed as error:
        raise _refusal(path, error) from None
    shifted = {name: 8 + length + offset for name, offset in offsets.items()}
    return Header(specs, shifted, metadata, size, raw)


def make_header(specs: Iterable[tuple[str, Spec]], metadata: Mapping[str, str] | None = None) -> Header:
    """The header of a file that will hold these tensors in this order.

    Example:
        >>> header = make_header([("w", Spec((2, 2), torch.float32)), ("b", Spec((2,), torch.float32))])
        >>> header.size - len(header.raw) - 8, header.offsets["b"] - header.offsets["w"]
        (24, 16)
    """
    known = dict(specs)
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offsets, end = {}, 0
    for name, spec in known.items():
        offsets[name] = end
        end += spec.nbytes
        table[name] = {"dtype": _CODES[spec.dtype], "shape": list(spec.shape), "data_offsets": [offsets[name], end]}
    raw = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)  # data begins at a multiple of eight
    start = 8 + len(raw)
    return Header(known, {n: start + o for n, o in offsets.items()}, dict(metadata or {}), start + end, raw)


class _Malformed(Exception):
    """What is wrong with a header, in words."""


def _refusal(path: Path, error: Exception) -> FusionBenchError:
    return FusionBenchError(
        f"{path} is not a sound safetensors file: {error}",
        hint="it is truncated, damaged or of another format; fetch it again",
    )


def _parse(raw: bytes, data: int) -> tuple[dict[str, Spec], dict[str, int], dict[str, str]]:
    try:
        table = json.loads(raw.decode())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _Malformed(f"its header is not JSON ({error})") from None
    if not raw.startswith(b"{") or not isinstance(table, dict):
        raise _Malformed("its header is not a JSON object")
    if raw.count(b'"data_offsets"') != len(table) - ("__metadata__" in table):
        _refuse_repeated_names(raw)
    metadata = table.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _Malformed("its __metadata__ does not map strings to strings")
    found = [(*_entry(name, entry), name) for name, entry in table.items()]
    found.sort(key=lambda item: (item[1], item[2], item[3]))
    end = 0
    for _, begin, stop, name in found:
        if begin != end:
            what = "overlaps the tensor before it" if begin < end else f"leaves a hole of {begin - end:,} bytes"
            raise _Malformed(f"tensor {name!r} at {begin:,} {what}")
        end = stop
    if end != data:
        raise _Malformed(f"its tensors take {end:,} bytes, the file has {data:,} for them")
    return {name: spec for spec, _, _, name in found}, {name: begin for _, begin, _, name in found}, metadata


def _entry(name: str, entry: Any) -> tuple[Spec, int, int]:
    try:
        code, shape, (begin, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if len(entry) != 3 or not isinstance(shape, list):
            raise TypeError
    except (TypeError, KeyError, ValueError):
        raise _Malformed(f"tensor {name!r} has not exactly dtype, shape and two data_offsets") from None
    if not isinstance(code, str) or code not in _DTYPES:
        raise _Malformed(f"tensor {name!r} has the unknown type {code!r}")
    for number in (*shape, begin, stop):
        if type(number) is not int or not 0 <= number < 2**63:
            raise _Malformed(f"tensor {name!r} has {number!r} in its shape or offsets")
    spec = Spec(tuple(shape), _DTYPES[code])
    if stop - begin != spec.nbytes:
        raise _Malformed(f"tensor {name!r} {spec.shape} of {code} takes {spec.nbytes:,} bytes, not {stop - begin:,}")
    return spec, begin, stop


def _refuse_repeated_names(raw: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for name, value in pairs:
            if name in known:
                raise _Malformed(f"it names {name!r} twice")
            known[name] = value
        return known

    json.loads(raw.decode(), object_pairs_hook=unique)
