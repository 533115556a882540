"""The I/O floor: touch every byte of the inputs once, write the result once and flush it to disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_BLOCK = 1 << 20


def io_floor(inputs: Sequence[Path], out: Path, size: int, *, threads: int | None = None) -> int:
    """Read all inputs and write ``size`` bytes to ``out``, as fast as threads can; returns a sum over the inputs.

    Args:
        inputs: files.
        out: made or replaced, flushed, renamed.
        size: bytes to write.
        threads: as many as there are cores, if None.
    """
    threads = threads or os.cpu_count() or 1
    sums = [0] * threads
    part = out.with_name(f".{out.name}.floor")
    target = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.posix_fallocate(target, 0, size)
    files = [os.open(path, os.O_RDONLY) for path in inputs]

    def work(number: int) -> None:
        block = np.zeros(_BLOCK // 8, dtype=np.uint64)
        view = memoryview(block).cast("B")
        for file in files:
            length = os.fstat(file).st_size
            for offset in range(number * _BLOCK, length, threads * _BLOCK):
                os.preadv(file, [view], offset)
                sums[number] += int(block.sum())
        for offset in range(number * _BLOCK, size, threads * _BLOCK):
            os.pwrite(target, view[: min(_BLOCK, size - offset)], offset)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    os.fsync(target)
    for file in (*files, target):
        os.close(file)
    part.replace(out)
    return sum(sums)
