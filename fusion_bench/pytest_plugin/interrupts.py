"""SIGTERM ends a session of cases as Ctrl-C does, so that the tracked run is closed as KILLED and not left RUNNING."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from types import FrameType
from typing import Any

import pytest

from fusion_bench.pytest_plugin.parametrize import case_of
from fusion_bench.pytest_plugin.progress import ProgressReport


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Interrupts()


@contextlib.contextmanager
def sigterm_as_interrupt(applies: Callable[[], bool], workers: Iterable[int] = ()) -> Iterator[None]:
    """Within, SIGTERM raises KeyboardInterrupt while ``applies()``, and is passed on to the worker processes given.

    Both are asked when the signal comes. While it does not apply, the earlier handler acts as if this were not here.
    Outside the main thread, where Python sets no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if not applies():
            signal.signal(signal.SIGTERM, earlier)
            signal.raise_signal(signal.SIGTERM)
            return
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        raise KeyboardInterrupt("SIGTERM")

    # a handler set by foreign C code reads as None and cannot be put back
    earlier = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


class _Interrupts:
    def __init__(self) -> None:
        self._workers: set[int] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        # with xdist: a worker's progress reports name its process; only a local one can be signalled from here
        node = getattr(report, "node", None)
        if isinstance(report, ProgressReport) and node is not None and getattr(node.gateway.spec, "popen", False):
            self._workers.add(report.pid)
            node.fusion_bench_pid = report.pid

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._workers.discard(getattr(node, "fusion_bench_pid", -1))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        has_cases = any(case_of(item) is not None for item in session.items)
        with sigterm_as_interrupt(lambda: has_cases or bool(self._workers), self._workers):
            return (yield)
