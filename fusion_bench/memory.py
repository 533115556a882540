"""Peak memory of a stretch of work, sampled: the operating system only keeps the peak of a whole process."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

BUDGET = 512 * 2**20
"""Bytes that the merging engine takes at most beside its models, unless it is told otherwise."""

_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Resident bytes of this process, the highest seen while the context was open; sampled every 20 ms.

    Args:
        every: seconds between two looks.
        private: count only memory that is the process's own, not files that are mapped (Linux; else all).

    Example:
        >>> with PeakMemory() as memory:
        ...     pass
        >>> memory.peak > 1e6
        True
    """

    def __init__(self, every: float = 0.02, *, private: bool = False) -> None:
        import psutil

        self._process, self._every, self._private = psutil.Process(), every, private and _STATUS.is_file()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.start = self.peak = 0

    def _look(self) -> None:
        self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        if not self._private:
            return int(self._process.memory_info().rss)
        (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) * 1024

    def _sample(self) -> None:
        while not self._stop.wait(self._every):
            self._look()

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = self._now()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
