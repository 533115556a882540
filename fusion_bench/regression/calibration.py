"""A fixed piece of work, timed beside every fusion: seconds of one machine become comparable with another's."""

from __future__ import annotations

import time

_ENTRIES = 1_000_000
_SIDE = 256


def calibrate(*, repeats: int = 5) -> float:
    """Seconds that this machine takes, now, for a fixed piece of the kind of work that fusing is.

    Four passes over three arrays of 4 MB each, as a merge makes over its inputs, and a product of two 256 × 256
    matrices in float64, as a spectral method makes. The fastest of ``repeats``: what disturbs only ever adds.

    Example:
        >>> 0 < calibrate(repeats=1) < 60
        True
    """
    import torch

    entries = torch.arange(_ENTRIES, dtype=torch.float32)
    other = entries.flip(0)
    out = torch.empty_like(entries)
    matrix = entries[: _SIDE**2].reshape(_SIDE, _SIDE).double() / _ENTRIES
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        for factor in (0.1, 0.2, 0.3, 0.4):
            torch.add(entries, other, alpha=factor, out=out)
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return min(seconds)
