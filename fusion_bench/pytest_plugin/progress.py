"""What is running, how far it is, and how long the rest will take.

A worker of xdist has no terminal: its progress travels to the controller as a `ProgressReport`, the way pytest's own
subtests do. The display itself is in `status.py`; here events are taken in and handed on, at most four a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from typing import Any

import pytest

from fusion_bench.progress import Progress, silent
from fusion_bench.pytest_plugin.node_ids import case_id_of
from fusion_bench.pytest_plugin.parametrize import case_of
from fusion_bench.pytest_plugin.results import result_of
from fusion_bench.pytest_plugin.status import Board, Terminal, first_fitting
from fusion_bench.report.headline import headline, mean_text

_PAUSE = 0.25
_TYPE = "FusionBenchProgress"
PLUGIN_NAME = "fusion_bench.progress"


class ProgressReport(pytest.TestReport):
    """A case under way; counts for nothing in pytest's summary.

    ``stage``, ``done``, ``total`` as in `fusion_bench.progress`; ``pid`` is the process that works on it.
    """

    def __init__(self, nodeid: str, location: Any, *, stage: str, done: int, total: int, pid: int) -> None:
        when: Any = "progress"
        super().__init__(nodeid, location, keywords={}, outcome="passed", longrepr=None, when=when)
        self.stage, self.done, self.total, self.pid = stage, done, total, pid


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Worker(config) if hasattr(config, "workerinput") else _Display(config)


class _Codec:
    """Lets a `ProgressReport` cross from worker to controller."""

    def pytest_report_to_serializable(self, report: Any) -> dict[str, Any] | None:
        if not isinstance(report, ProgressReport):
            return None
        fields = ("nodeid", "location", "stage", "done", "total", "pid")
        return {"$report_type": _TYPE, **{name: getattr(report, name) for name in fields}}

    def pytest_report_from_serializable(self, data: dict[str, Any]) -> ProgressReport | None:
        if data.get("$report_type") != _TYPE:
            return None
        fields = ("nodeid", "location", "stage", "done", "total", "pid")
        return ProgressReport(**{name: data[name] for name in fields})


class _Worker(_Codec):
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        return ("", "", "") if isinstance(report, ProgressReport) else None

    def reporter_of(self, item: pytest.Item) -> Progress:
        """The ``progress`` callable for the case of this item."""

        def send(stage: str, done: int, total: int) -> None:
            report = ProgressReport(
                item.nodeid, item.location, stage=stage, done=int(done), total=int(total), pid=os.getpid()
            )
            self._config.hook.pytest_runtest_logreport(report=report)

        return throttled(send)


class _Display(_Codec):
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._board = Board()
        self._terminal: Terminal | None = None
        self._running = False

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        capture = self._config.pluginmanager.getplugin("capturemanager")
        if reporter is not None and reporter.verbosity >= 0:
            self._terminal = Terminal(reporter, capture)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._board.expect([case.id for case in map(case_of, session.items) if case is not None])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        self._board.expect([case_id for case_id in map(case_id_of, ids) if case_id])

    def reporter_of(self, item: pytest.Item) -> Progress:
        """The ``progress`` callable for the case of this item."""
        case = case_of(item)
        assert case is not None

        def show(stage: str, done: int, total: int) -> None:
            self._under_way(case.id, stage, done, total)

        return throttled(show)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        self._running = True
        try:
            return (yield)
        finally:
            self._running = False  # pytest's closing summary asks for the status again, and then wants its own words

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any, config: pytest.Config) -> Any:
        if isinstance(report, ProgressReport):
            return "", "", ""
        # at normal verbosity a case has a line of its own instead of a dot; with -v pytest's line stands, -q keeps dots
        if not self._running or self._terminal is None or not _settles(report) or not self._board.knows(report.nodeid):
            return None
        if self._terminal.reporter.verbosity == 0:
            return report.outcome, "", ""
        result = result_of(report)
        return (report.outcome, "", f"PASSED {mean_text(result)}") if report.passed and result else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self._terminal is not None:
            self._terminal.clear()
        self._board.start(nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, object, object]:
        if isinstance(report, ProgressReport):
            if hasattr(report, "node"):  # a worker's; our own process calls _under_way itself
                self._under_way(case_id_of(report.nodeid) or report.nodeid, report.stage, report.done, report.total)
            return (yield)
        if self._terminal is not None:
            self._terminal.clear()
        result = yield
        if _settles(report) and self._board.knows(report.nodeid):
            self._board.finish(report.nodeid, typical=not report.skipped)
            if self._terminal is not None and self._terminal.reporter.verbosity == 0:
                text, markup = outcome_line(
                    report, tally=self._board.tally(), name_width=self._board.name_width, width=self._terminal.width
                )
                self._terminal.say(text, **markup)
        return result

    def say(self, text: str) -> None:
        """A line above the status line; nothing with ``-q``."""
        if self._terminal is not None:
            self._terminal.say(text)

    def _under_way(self, case_id: str, stage: str, done: int, total: int) -> None:
        self._board.update(case_id, stage, done, total)
        if self._terminal is not None:
            self._terminal.show(self._board)


def outcome_line(report: Any, *, tally: str, name_width: int, width: int) -> tuple[str, dict[str, bool]]:
    """What one finished case says of itself in at most ``width`` columns, and how to colour it."""
    name = "  " + (case_id_of(report.nodeid) or report.nodeid).ljust(name_width) + "  "
    if report.passed:
        result = result_of(report)
        said = [headline(result), headline(result, short=True), mean_text(result)] if result else ["passed"]
        return first_fitting([*(f"{name}{text}  [{tally}]" for text in said), name + said[-1]], width), {}
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        return first_fitting([f"{name}skipped: {reason.removeprefix('Skipped: ')}"], width), {"yellow": True}
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else str(report.longrepr)
    return first_fitting([f"{name}FAILED: {message.strip().partition(chr(10))[0]}"], width), {"red": True}


def _settles(report: Any) -> bool:
    # the report after which the verdict on a case is known; "???" is what xdist files for a worker that died
    return report.when == "call" or (report.when in ("setup", "???") and not report.passed)


def throttled(send: Progress, *, pause: float = _PAUSE) -> Progress:
    """``send``, called at once for a new stage and otherwise at most every ``pause`` seconds.

    Example:
        >>> seen = []
        >>> report = throttled(lambda stage, done, total: seen.append((stage, done)), pause=3600)
        >>> for done in range(4):
        ...     report("evaluate", done, 4)
        >>> seen
        [('evaluate', 0)]
    """
    last_stage, last_time = "", -float("inf")

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last_stage, last_time
        now = time.monotonic()
        if stage != last_stage or now - last_time >= pause:
            last_stage, last_time = stage, now
            send(stage, done, total)

    return report


def progress_of(item: pytest.Item) -> Progress:
    """The ``progress`` callable for the case of this item, whether it runs here or on a worker."""
    role: Any = item.config.pluginmanager.get_plugin(PLUGIN_NAME)
    reporter: Progress = silent if role is None else role.reporter_of(item)
    return reporter


def say(config: pytest.Config, text: str) -> None:
    """A line for the user, from the process that has the terminal; a worker of xdist says nothing."""
    role: Any = config.pluginmanager.get_plugin(PLUGIN_NAME)
    if isinstance(role, _Display):
        role.say(text)
