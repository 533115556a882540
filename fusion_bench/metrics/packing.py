"""Facts about examples, small enough to lie in a text file: which were right, or how each scored, and their sources."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion_bench.errors import FusionBenchError


def pack(correct: ArrayLike) -> str:
    """Bits as text: eight to a byte, deflated, base64.

    Args:
        correct: bool ``(n,)``.

    Example:
        >>> unpack(pack([True, False, True]), 3).tolist()
        [True, False, True]
    """
    bits = np.packbits(np.asarray(correct, dtype=bool))
    return base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode("ascii")


def unpack(text: str, n: int) -> np.ndarray:
    """What `pack` packed, bool ``(n,)``.

    Raises:
        FusionBenchError: text that is damaged, or of another length.
    """
    try:
        raw = zlib.decompress(base64.b64decode(text.encode("ascii"), validate=True))
    except (binascii.Error, zlib.error, UnicodeEncodeError) as error:
        raise FusionBenchError(f"packed outcomes are damaged: {error}") from error
    if len(raw) != -(-n // 8):
        raise FusionBenchError(f"packed outcomes hold {8 * len(raw)} bits where {n} examples are said to be")
    return np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=n).astype(bool)


def pack_outcome(outcome: ArrayLike) -> dict[str, Any]:
    """The outcomes of a task's examples as JSON holds them: ``n``, and ``correct`` (`pack`) or ``scores``.

    Args:
        outcome: bool ``(n,)``, right or wrong; or numbers ``(n,)``, scores, which are kept as float32.

    Example:
        >>> unpack_outcome(pack_outcome([True, False])), unpack_outcome(pack_outcome([0.5, -1.0]))
        (array([ True, False]), array([ 0.5, -1. ]))
    """
    array = np.asarray(outcome)
    if array.dtype == np.bool_:
        return {"n": len(array), "correct": pack(array)}
    raw = zlib.compress(array.astype("<f4").tobytes(), 9)
    return {"n": len(array), "scores": base64.b64encode(raw).decode("ascii")}


def unpack_outcome(packed: Mapping[str, Any]) -> np.ndarray:
    """What `pack_outcome` packed: bool ``(n,)``, or float64 ``(n,)``.

    Raises:
        FusionBenchError: text that is damaged, or of another length.
    """
    if "scores" not in packed:
        return unpack(packed["correct"], packed["n"])
    try:
        raw = zlib.decompress(base64.b64decode(packed["scores"].encode("ascii"), validate=True))
    except (binascii.Error, zlib.error, UnicodeEncodeError) as error:
        raise FusionBenchError(f"packed scores are damaged: {error}") from error
    if len(raw) != 4 * packed["n"]:
        raise FusionBenchError(f"packed scores are of {len(raw) // 4} examples where {packed['n']} are said to be")
    return np.frombuffer(raw, dtype="<f4").astype(np.float64)


def pack_sources(labels: ArrayLike) -> str:
    """Which examples come from one source, as text: the sources numbered by their first example, deflated, base64.

    Args:
        labels: ``(n,)`` strings or integers, one an example; the same label means the same source.

    Example:
        >>> unpack_sources(pack_sources(["lato", "arimo", "lato"]), 3).tolist()
        [0, 1, 0]
    """
    array = np.asarray(labels)
    _, first, codes = np.unique(array.astype(str), return_index=True, return_inverse=True)
    places = np.argsort(np.argsort(first))[codes.reshape(-1)]
    return base64.b64encode(zlib.compress(places.astype("<u4").tobytes(), 9)).decode("ascii")


def unpack_sources(text: str, n: int) -> np.ndarray:
    """What `pack_sources` packed: the number of its source for each example, int64 ``(n,)``.

    Raises:
        FusionBenchError: text that is damaged, or of another length.
    """
    try:
        raw = zlib.decompress(base64.b64decode(text.encode("ascii"), validate=True))
    except (binascii.Error, zlib.error, UnicodeEncodeError) as error:
        raise FusionBenchError(f"packed sources are damaged: {error}") from error
    if len(raw) != 4 * n:
        raise FusionBenchError(f"packed sources are of {len(raw) // 4} examples where {n} are said to be")
    return np.frombuffer(raw, dtype="<u4").astype(np.int64)


def are_shared(labels: ArrayLike) -> bool:
    """Whether any two examples come from one source, and not all from the same: only then do sources tell anything.

    Example:
        >>> are_shared(["a", "b", "a"]), are_shared(["a", "b", "c"]), are_shared(["a", "a"])
        (True, False, False)
    """
    array = np.asarray(labels)
    return 1 < len(np.unique(array.astype(str))) < len(array)
