"""What stands at the end: the leaderboards of the session, where the runs are, and near names where nothing ran."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin import options as command_line
from fusion_bench.pytest_plugin import results
from fusion_bench.pytest_plugin.parametrize import case_of, is_ours, near_names

_DESELECTED = "fusion_bench_deselected"  # how a worker tells the controller that cases were there and none was wanted


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Summary(config)


class _Summary:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._results: list[dict[str, Any]] = []
        self._deselected = 0
        self._selected = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":  # a case that its baseline fails has measured something all the same
            result = results.result_of(report)
            if result is not None:
                self._results.append(result)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._deselected += sum(case_of(item) is not None for item in items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._selected = sum(map(is_ours, session.items))
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_DESELECTED] = 0 if self._selected else self._deselected

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._deselected = max(self._deselected, getattr(node, "workeroutput", {}).get(_DESELECTED, 0))

    def pytest_sessionstart(self) -> None:  # after parametrize, which answers for options that are wrong
        path = command_line.read(self._config).markdown
        if path is None or hasattr(self._config, "workerinput"):
            return
        try:  # what is there is of another session, and a place that cannot be written is said before the work
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("The session did not come to its end.\n", encoding="utf-8")
        except OSError as error:
            raise pytest.UsageError(f"fusion_bench: cannot write {path}: {error.strerror}") from error

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        write_markdown(self._config, self._results)
        if self._results and terminalreporter.verbosity >= -1:
            terminalreporter.ensure_newline()
            write_leaderboards(terminalreporter, self._results)
            write_links(terminalreporter, self._config, self._results)
        elif self._deselected and not self._selected:
            self._suggest(terminalreporter)

    def _suggest(self, terminalreporter: Any) -> None:
        from fusion_bench.pytest_plugin.parametrize import PLUGIN_NAME

        matrix: Any = self._config.pluginmanager.get_plugin(PLUGIN_NAME)
        expression = (self._config.getoption("keyword", "") or "").strip()
        try:
            cases = matrix.cases()
        except FusionBenchError:
            return  # the broken YAML file was reported where it was collected
        near = near_names(expression, cases)
        if near:
            terminalreporter.write_line(f"fusion_bench: -k {expression!r} matches no case; near: {', '.join(near)}")
        else:
            what = f"-k {expression!r}" if expression else f"-m {self._config.getoption('markexpr', '')!r}"
            algorithms = sorted({case.algorithm for case in cases})
            terminalreporter.write_line(f"fusion_bench: {what} matches no case; algorithms: {', '.join(algorithms)}")


def write_leaderboards(terminalreporter: Any, found: list[dict[str, Any]]) -> None:
    """The results as tables, one per model pool and task pool, in the width of the terminal."""
    from rich.console import Console

    from fusion_bench.report import leaderboards, render
    from fusion_bench.report.published import published_lines

    writer = terminalreporter._tw
    console = Console(
        file=writer._file,
        width=writer.fullwidth,
        force_terminal=writer.hasmarkup,
        color_system="auto" if writer.hasmarkup else None,
        highlight=False,
    )
    terminalreporter.write_sep("=", "leaderboard")
    for board in leaderboards(found):
        console.print(render(board, width=writer.fullwidth, console=console))
    for line in published_lines(found):
        terminalreporter.write_line(f"published: {line}")


def write_markdown(config: pytest.Config, found: list[dict[str, Any]]) -> None:
    """The leaderboards, and what the gate says, into the file that ``--markdown`` names."""
    path = command_line.read(config).markdown
    if path is None:
        return
    from fusion_bench.pytest_plugin import gate
    from fusion_bench.report import leaderboards, to_markdown

    parts = [f"## {board.title}\n\n{to_markdown(board)}" for board in leaderboards(found)]
    path.write_text("\n".join([*gate.markdown(config), *parts]) or "No case was run.\n", encoding="utf-8")


def write_links(terminalreporter: Any, config: pytest.Config, found: list[dict[str, Any]]) -> None:
    """Where the runs are and the line that opens them."""
    from fusion_bench.pytest_plugin import store

    experiments = [f"{result['case']['modelpool']}/{result['case']['taskpool']}" for result in found]
    try:
        page = store.keep_page(config)
        lines = [*([page] if page else []), *store.closing_lines(config, experiments)]
    except Exception as error:  # a store that went away must not take with it what the session found
        lines = [f"the store does not answer any more: {' '.join(str(error).split())[:200]}"]
    for line in lines:
        terminalreporter.write_line(line)
