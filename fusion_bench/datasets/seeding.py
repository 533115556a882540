"""Seeds made of names: what is drawn for one example depends on no other example, on no order and on no process."""

from __future__ import annotations

import hashlib
import json


def seed_of(*parts: str | int) -> int:
    """A seed of 128 bits from what it is for, the first half of a SHA-256 sum.

    Example:
        >>> seed_of("mnist", "test", 7) == seed_of("mnist", "test", 7) != seed_of("mnist", "test", 8)
        True
    """
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
