"""Headers of safetensors files read through ranges: sound or not, without a tensor and without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Tensors: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""Names to type, as the format calls it, and shape."""


class Unsound(Exception):
    """What is wrong with a file, in words."""


_LONGEST = 100_000_000
_BITS = {
    **{"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
    **{"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32},
    **{"U64": 64, "I64": 64, "F64": 64, "C64": 64},
}


def check_header(read: Callable[[int, int], bytes], size: int) -> Tensors:
    """The tensors of a file, its header checked against the file's size.

    Args:
        read: bytes ``start`` to ``stop`` of the file.
        size: of the whole file.

    Raises:
        Unsound: no header, tensors that overlap, leave holes, or end elsewhere than the
            file does.

    Example:
        >>> head = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
        >>> file = len(head).to_bytes(8, "little") + head + bytes(8)
        >>> check_header(lambda start, stop: file[start:stop], len(file))
        {'w': ('F32', (2,))}
        >>> check_header(lambda start, stop: file[start:stop], len(file) - 1)
        Traceback (most recent call last):
        ...
        fusion_bench.hub.headers.Unsound: its tensors take 8 bytes, the file has 7 for them
    """
    first = read(0, 8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or not 2 <= length <= min(_LONGEST, size - 8):
        page = "; it begins as a page of HTML does" if is_page(first) else ""
        raise Unsound(f"its header claims {length:,} bytes, the file has {size:,}{page}")
    raw = read(8, 8 + length)
    try:
        table = json.loads(raw.decode())
        table.pop("__metadata__", None)
        entries = [(name, of["dtype"], tuple(of["shape"]), *of["data_offsets"]) for name, of in table.items()]
        entries.sort(key=lambda entry: entry[3:])
        end = 0
        for name, dtype, shape, begin, stop in entries:
            if begin != end or (stop - begin) * 8 != math.prod(shape) * _BITS[dtype]:
                raise Unsound(f"tensor {name!r} ({dtype} {list(shape)}) does not lie where its shape says")
            end = stop
    except (UnicodeDecodeError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise Unsound(f"its header cannot be read ({error!r:.80})") from error
    if end != size - 8 - length:
        raise Unsound(f"its tensors take {end:,} bytes, the file has {size - 8 - length:,} for them")
    return {name: (dtype, shape) for name, dtype, shape, _, _ in entries}


def shards(index: bytes) -> dict[str, str]:
    """Names of tensors to files, as an index has them.

    Raises:
        Unsound: it is no index.
    """
    try:
        content: Any = json.loads(index)
        return {str(tensor): str(file) for tensor, file in content["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unsound(f"no index of shards: {error!r}") from error


def is_page(start: bytes) -> bool:
    """Whether bytes are the beginning of HTML, which a proxy sends in the place of a file.

    Example:
        >>> is_page(b"<!DOCTYPE html>"), is_page(b"PAR1")
        (True, False)
    """
    return start.lstrip().lower().startswith((b"<!doc", b"<html", b"<head", b"<?xml"))
