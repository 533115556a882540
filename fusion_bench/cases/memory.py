"""Peak memory of a stretch of work, sampled: the operating system only keeps the peak of a whole process."""

from __future__ import annotations

import threading
from types import TracebackType


class PeakMemory:
    """Resident bytes of this process, the highest seen while the context was open; sampled every 20 ms.

    Example:
        >>> with PeakMemory() as memory:
        ...     pass
        >>> memory.peak > 1e6
        True
    """

    def __init__(self, every: float = 0.02) -> None:
        import psutil

        self._process, self._every = psutil.Process(), every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak = 0

    def _look(self) -> None:
        self.peak = max(self.peak, int(self._process.memory_info().rss))

    def _sample(self) -> None:
        while not self._stop.wait(self._every):
            self._look()

    def __enter__(self) -> PeakMemory:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
