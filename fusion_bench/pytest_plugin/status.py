"""The state of the cases under way (`Board`, which knows no terminal) and the status line (`Terminal`)."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fusion_bench.pytest_plugin.node_ids import case_id_of

_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"
_QUIET_SECONDS = 20.0  # without a terminal: a line for a case that has been silent for so long


class Board:
    """How far the session is: which cases are expected, running and finished, and how long the rest will take.

    Example:
        >>> now = 0.0
        >>> board = Board(clock=lambda: now)
        >>> board.expect(["ties-p-t", "slerp-p-t", "tsv_m-p-t"])
        >>> board.start("b.py::b[ties-p-t]"); now = 10.0; board.finish("b.py::b[ties-p-t]")
        >>> board.start("b.py::b[slerp-p-t]"); now = 14.0; board.update("slerp-p-t", "mnist", 3, 8)
        >>> board.line(80)
        'slerp-p-t: mnist 3/8  [1/3, 0:16 left]'
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: dict[str, int] = {}  # tests by case: two test functions may run the same one
        self._running: dict[str, float] = {}
        self._stages: dict[str, tuple[str, int, int]] = {}
        self._seconds: list[float] = []
        self._finished = 0
        self._latest = ""

    @property
    def total(self) -> int:
        """How many cases the session holds."""
        return sum(self._expected.values())

    @property
    def finished(self) -> int:
        """How many of them are done, one way or another."""
        return self._finished

    @property
    def name_width(self) -> int:
        """Columns that the names of nearly all cases fit in."""
        lengths = sorted(map(len, self._expected)) or [0]
        return min(48, lengths[math.ceil(0.95 * len(lengths)) - 1])

    def expect(self, case_ids: Iterable[str]) -> None:
        """Add the cases that will run."""
        self._expected |= Counter(case_ids)

    def knows(self, nodeid: str) -> bool:
        """Whether the test of this node id is one of the expected cases."""
        return case_id_of(nodeid) in self._expected

    def start(self, nodeid: str) -> None:
        """A case begins."""
        if self.knows(nodeid):
            self._running[case_id_of(nodeid) or nodeid] = self._clock()

    def update(self, case_id: str, stage: str, done: int, total: int) -> None:
        """A case reports."""
        self._running.setdefault(case_id, self._clock())
        self._stages[case_id] = (stage, done, total)
        self._latest = case_id

    def finish(self, nodeid: str, *, typical: bool = True) -> None:
        """A case ends; ``typical`` says whether its duration tells something of the others (a skip's does not)."""
        case_id = case_id_of(nodeid) or nodeid
        begun = self._running.pop(case_id, None)
        self._stages.pop(case_id, None)
        if begun is not None and case_id in self._expected:
            self._finished += 1
            if typical:
                self._seconds.append(self._clock() - begun)

    def seconds_left(self) -> float | None:
        """Seconds until all cases are done, by the mean of those that are; None before the first is."""
        if not self._seconds:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        now = self._clock()
        running = sum(max(0.0, mean - (now - begun)) for begun in self._running.values())
        waiting = max(0, self.total - self.finished - len(self._running)) * mean
        return (running + waiting) / max(1, len(self._running))

    def tally(self) -> str:
        """How many of how many, and the time left, for the end of a line."""
        left = self.seconds_left()
        time_left = f", {clock_text(left)} left" if left is not None and self.finished < self.total else ""
        return f"{self.finished}/{self.total}{time_left}"

    def line(self, width: int) -> str:
        """The case that reported last, what it is at, and the tally: as much of it as fits."""
        stage, done, total = self._stages.get(self._latest, ("", 0, 0))
        what = " ".join(part for part in (stage, f"{done}/{total}" if total else "") if part)
        others = len(self._running) - 1
        more = f" +{others} more" if others > 0 else ""
        case, tally = f"{self._latest}{more}: ", f"  [{self.tally()}]"
        return first_fitting([case + what + tally, what + tally, what], width)


def first_fitting(texts: Sequence[str], width: int) -> str:
    """The first text that is at most ``width`` long; the last is cut where none is.

    Example:
        >>> first_fitting(["a long one", "short"], 6), first_fitting(["a long one"], 6)
        ('short', 'a lon…')
    """
    for text in texts:
        if len(text) <= width:
            return text
    return texts[-1][: max(0, width - 1)] + "…"


class Terminal:
    """Draws the board's line behind whatever pytest wrote last, and takes it away before pytest writes on.

    Without a terminal (a log file, CI) nothing can be taken away: then a long case gets a plain line now and then.
    """

    def __init__(self, reporter: Any, capture: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.reporter = reporter
        self._capture = capture
        self._clock = clock
        self._drawn = False
        self._spoke = clock()
        self._live = bool(getattr(reporter, "isatty", False)) and reporter.hasmarkup

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return int(self.reporter._tw.fullwidth)

    def show(self, board: Board) -> None:
        """Draw, or say, how far the board is."""
        if self._live:
            text = board.line(self.width - self.reporter._tw.width_of_current_line - 2)
            self._write(f"{_SAVE} {text}{_ERASE}{_RESTORE}")
            self._drawn = True
        elif self._clock() - self._spoke >= _QUIET_SECONDS:
            self.say(f"    … {board.line(self.width - 6)}")

    def clear(self) -> None:
        """Take the drawn line away."""
        if self._drawn:
            self._write(_ERASE)
            self._drawn = False

    def say(self, text: str, **markup: bool) -> None:
        """Write a line that stays, on a line of its own."""
        self.clear()
        self._spoke = self._clock()
        with self._uncaptured():
            write_line(self.reporter, text, **markup)

    def _write(self, sequence: str) -> None:
        with self._uncaptured():
            file = self.reporter._tw._file  # past the writer, which would count the escape codes as width
            file.write(sequence)
            file.flush()

    def _uncaptured(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._capture is None else self._capture.global_and_fixture_disabled()


def write_line(reporter: Any, text: str, **markup: bool) -> None:
    """Write a line through pytest's reporter, at the head of a line whatever stood there before."""
    writer = reporter._tw
    if writer.width_of_current_line:
        writer.line()
    writer.line(text, **markup)
    writer.flush()


def clock_text(seconds: float) -> str:
    """Seconds as a person reads them.

    Example:
        >>> clock_text(75), clock_text(3700)
        ('1:15', '1:01:40')
    """
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
