"""A fixed piece of work, timed beside every fusion: what one machine takes becomes comparable with another's."""

from __future__ import annotations

import time

import numpy as np

_ENTRIES = 500_000


def calibrate(*, repeats: int = 5) -> float:
    """Processor seconds that this machine takes, now, for a fixed piece of the kind of work that fusing is.

    A few passes over arrays of 2 MB, as a merge makes over its inputs, and a partial sort, as trimming does; on one
    thread, since threads that wait for each other on a busy machine spend processor time on waiting. Processor seconds,
    because other programs make a kernel of a millisecond and a fusion of a second wait unequally. The fastest of
    ``repeats``: what disturbs only ever adds.

    Example:
        >>> 0 < calibrate(repeats=1) < 60
        True
    """
    entries = np.arange(_ENTRIES, dtype=np.float32)
    other = np.sin(entries)
    out = np.empty_like(entries)
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        for factor in (0.1, 0.2, 0.3, 0.4):
            np.multiply(other, np.float32(factor), out=out)
            np.add(entries, out, out=out)
        np.partition(np.abs(other), _ENTRIES // 5)
        seconds.append(time.process_time() - start)
    return min(seconds)
