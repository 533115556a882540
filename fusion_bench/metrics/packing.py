"""Which examples a run got right, small enough to lie in a text file: one bit an example, packed and compressed."""

from __future__ import annotations

import base64
import binascii
import zlib

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
