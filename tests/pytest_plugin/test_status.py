from __future__ import annotations

import io

import pytest

from fusion_bench.pytest_plugin.status import Board, Terminal, clock_text


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock) -> Board:
    board = Board(clock=clock)
    board.expect([f"a{i}-p-t" for i in range(4)])
    return board


def finish(board: Board, clock: Clock, name: str, seconds: float, **how: bool) -> None:
    board.start(f"b.py::b[{name}]")
    clock.now += seconds
    board.finish(f"b.py::b[{name}]", **how)


def test_time_left_is_the_mean_of_what_is_done_times_what_is_not(board, clock):
    assert board.seconds_left() is None
    finish(board, clock, "a0-p-t", 10)
    assert board.seconds_left() == pytest.approx(30)
    board.start("b.py::b[a1-p-t]")
    clock.now += 4
    assert board.seconds_left() == pytest.approx(26)


def test_two_workers_halve_it(board, clock):
    finish(board, clock, "a0-p-t", 10)
    board.start("b.py::b[a1-p-t]")
    board.start("b.py::b[a2-p-t]")
    assert board.seconds_left() == pytest.approx(15)


def test_a_skipped_case_is_done_but_tells_no_time(board, clock):
    finish(board, clock, "a0-p-t", 10)
    finish(board, clock, "a1-p-t", 0, typical=False)
    assert board.finished == 2
    assert board.seconds_left() == pytest.approx(20)


def test_a_test_that_is_no_case_counts_for_nothing(board, clock):
    finish(board, clock, "other", 10)
    board.start("tests/test_x.py::test_y")
    board.finish("tests/test_x.py::test_y")
    assert board.finished == 0


def test_the_line_gives_up_its_parts_in_order(board, clock):
    finish(board, clock, "a0-p-t", 10)
    board.start("b.py::b[a1-p-t]")
    board.update("a1-p-t", "evaluate mnist", 3, 8)
    assert board.line(80) == "a1-p-t: evaluate mnist 3/8  [1/4, 0:30 left]"
    assert board.line(40) == "evaluate mnist 3/8  [1/4, 0:30 left]"
    assert board.line(20) == "evaluate mnist 3/8"
    assert board.line(8) == "evaluat…"


class Writer:
    """As much of pytest's terminal writer as the status line uses."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.fullwidth = 80
        self.width_of_current_line = 0

    def line(self, text: str = "", **markup: bool) -> None:
        self._file.write(text + "\n")
        self.width_of_current_line = 0

    def flush(self) -> None:
        pass


class Reporter:
    verbosity = 0

    def __init__(self, *, tty: bool) -> None:
        self._tw = Writer()
        self.isatty = self.hasmarkup = tty

    @property
    def text(self) -> str:
        return self._tw._file.getvalue()


def test_on_a_terminal_the_line_is_drawn_and_taken_away(board, clock):
    reporter = Reporter(tty=True)
    terminal = Terminal(reporter, None, clock=clock)
    board.update("a1-p-t", "fuse", 0, 0)
    terminal.show(board)
    assert reporter.text == "\x1b7 a1-p-t: fuse  [0/4]\x1b[K\x1b8"
    terminal.clear()
    assert reporter.text.endswith("\x1b[K")
    terminal.clear()
    assert reporter.text.count("\x1b[K") == 2  # once drawn, once cleared


def test_without_a_terminal_a_silent_case_is_heard_of_now_and_then(board, clock):
    reporter = Reporter(tty=False)
    terminal = Terminal(reporter, None, clock=clock)
    board.update("a1-p-t", "evaluate mnist", 1, 8)
    terminal.show(board)
    assert reporter.text == ""
    clock.now += 21
    terminal.show(board)
    terminal.show(board)
    assert reporter.text == "    … a1-p-t: evaluate mnist 1/8  [0/4]\n"
    assert "\x1b" not in reporter.text


def test_a_line_starts_at_the_head_of_a_line(board, clock):
    reporter = Reporter(tty=False)
    reporter._tw.width_of_current_line = 5
    Terminal(reporter, None, clock=clock).say("said")
    assert reporter.text == "\nsaid\n"


def test_clock_text():
    assert [clock_text(s) for s in (0, 59.6, 3599, 3600)] == ["0:00", "1:00", "59:59", "1:00:00"]
