"""``--baseline``: each case is held against its stored baseline; ``--update-baseline`` rewrites them instead."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin import options as command_line
from fusion_bench.pytest_plugin.node_ids import case_id_of
from fusion_bench.pytest_plugin.parametrize import case_of
from fusion_bench.pytest_plugin.results import result_of

if TYPE_CHECKING:
    from fusion_bench.cases import Case, CaseResult
    from fusion_bench.regression import Verdict

PLUGIN_NAME = "fusion_bench.gate"
_PROPERTY = "fusion_bench_verdict"
_AGAIN = 3  # a fusion that seemed slow is timed so many times more; its fastest counts


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Gate(config)


class BaselineFailure(FusionBenchError):
    """A case is not as good as its baseline."""


class _Gate:
    """Collects verdicts, and what became of cases that have none.

    Attributes:
        cases: of this process.
        seen: result and verdict of each case that has one.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.cases: list[Case] = []
        self.seen: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._expected: set[str] = set()
        self._without: dict[str, str] = {}

    def pytest_sessionstart(self) -> None:  # after parametrize, which answers for options that are wrong
        options = command_line.read(self._config)
        if options.baseline and options.update_baseline:
            raise pytest.UsageError("fusion_bench: --baseline compares, --update-baseline rewrites: give one of them")
        folder = baseline_folder(self._config)
        if options.baseline and not folder.is_dir():
            raise pytest.UsageError(
                f"fusion_bench: no baselines at {folder}; make them: pytest bench --update-baseline"
            )

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        found = [(item.nodeid, case_of(item)) for item in session.items]
        self.cases = list(dict.fromkeys(case for _, case in found if case is not None))
        self._expected |= {nodeid for nodeid, case in found if case is not None}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        self._expected |= {nodeid for nodeid in ids if case_id_of(nodeid)}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.nodeid not in self._expected:
            return
        result, verdict = result_of(report), verdict_of(report)
        if report.when == "call" and result is not None and verdict is not None:
            self.seen.append((result, verdict))
            self._without.pop(report.nodeid, None)
        elif report.when in ("setup", "call"):
            self._without[report.nodeid] = "could not run" if report.failed else "skipped" if report.skipped else ""

    def others(self) -> dict[str, int]:
        """How many cases have no verdict, by what became of them."""
        found = Counter(what for what in self._without.values() if what)
        not_run = len(self._expected) - len(self.seen) - sum(found.values())
        return {**found, "not run": max(0, not_run)}

    def lines(self) -> list[str]:
        """What stands at the end; nothing without a gate."""
        options = command_line.read(self._config)
        if not self._expected or not (options.baseline or options.update_baseline):
            return []
        from fusion_bench.regression.bisect import bisection, for_command
        from fusion_bench.regression.summary import COSTLIER, smallest_set, summary_lines
        from fusion_bench.regression.verdict import FAILING

        words = session_words(self._config)
        lines = summary_lines(self.seen, self.others(), updating=options.update_baseline, options=words)
        if options.baseline:
            blamed = [(r, v) for r, v in self.seen if v["status"] in FAILING and v["status"] != COSTLIER]
            folder = baseline_folder(self._config)
            own = for_command([word for word in words if word not in ("--baselines", str(folder))])
            lines += bisection(smallest_set(blamed), folder, self._config.rootpath, options=own)
        return lines

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        lines = self.lines()
        if lines:
            terminalreporter.write_sep("=", "baselines")
        for line in lines:
            terminalreporter.write_line(line)


def markdown(config: pytest.Config) -> list[str]:
    """The verdicts of the session for a job's summary: failures in full, then what to do; nothing without a gate."""
    gate: Any = config.pluginmanager.get_plugin(PLUGIN_NAME)
    if not command_line.read(config).baseline:
        return []
    from fusion_bench.regression import Verdict, message
    from fusion_bench.regression.summary import heading

    verdicts = [Verdict.from_dict(verdict) for _, verdict in gate.seen]
    failing = [f"```\n{message(verdict)}\n```" for verdict in verdicts if verdict.fails]
    return [f"## {heading(gate.seen, gate.others())}", "", *failing, "```", *gate.lines(), "```", ""]


def session_words(config: pytest.Config) -> list[str]:
    """The options of the session that a pytest line to copy needs as well."""
    options = command_line.read(config)
    words = [] if options.config_dir is None else ["--fb-config-path", str(options.config_dir)]
    words += [word for plugin in options.plugins for word in ("--plugin", plugin)]
    return words + ([] if options.baselines is None else ["--baselines", str(options.baselines)])


def baseline_folder(config: pytest.Config) -> Path:
    """Where the baselines of this project lie."""
    given = command_line.read(config).baselines
    return given if given is not None else config.rootpath / "bench" / "baselines"


Again = Callable[["CaseResult"], dict[str, float]]


def check(item: pytest.Item, result: CaseResult, again: Again) -> None:
    """Hold a result against its baseline, or make it the baseline, as the options say.

    Args:
        again: fuses once more and returns what that cost.

    Raises:
        BaselineFailure: with what got worse, by how much, and what changed since.
    """
    __tracebackhide__ = True
    options = command_line.read(item.config)
    if options.update_baseline:
        _attach(item, update(baseline_folder(item.config), result, again))
    elif options.baseline:
        gate: Any = item.config.pluginmanager.get_plugin(PLUGIN_NAME)
        verdict = _judged(baseline_folder(item.config), gate.cases, result, again)
        _attach(item, verdict)
        if verdict.fails:
            from fusion_bench.regression import message

            raise BaselineFailure(message(verdict))


def update(folder: Path, result: CaseResult, again: Again) -> Verdict:
    """Write the baseline of a result, unless the one that is there measured the same.

    Fusing is timed once more for it: the first case of a process pays for what it loads and compiles.
    """
    from fusion_bench.regression import Verdict, from_result
    from fusion_bench.regression.rewrite import rewrite

    content, costs = result.to_dict(), again(result)
    content["metrics"] |= {name: min(value, content["metrics"][name]) for name, value in costs.items()}
    return Verdict(result.case["id"], rewrite(folder, from_result(content, date=today())))


def _judged(folder: Path, cases: list[Case], result: CaseResult, again: Again) -> Verdict:
    from fusion_bench.regression import Verdict, from_result, judge, path_of, read_settings
    from fusion_bench.regression.baseline import read, sources_of

    content = result.to_dict()
    path = path_of(folder, result.case)
    if not path.is_file():
        return Verdict(result.case["id"], "new")
    settings, baseline = read_settings(folder), read(path)
    together = sum(path_of(folder, _described(case)).is_file() for case in cases)
    options: dict[str, Any] = {"cases": max(1, together), "sources": sources_of(content)}
    verdict = judge(baseline, from_result(content, date=today()), settings, **options)
    for _ in range(_AGAIN):
        if not any(finding.kind == "costlier" for finding in verdict.findings):
            break
        costs = again(result)
        better = {name: min(value, content["metrics"][name]) for name, value in costs.items()}
        content = {**content, "metrics": {**content["metrics"], **better}}
        verdict = judge(baseline, from_result(content, date=today()), settings, **options)
    return verdict


def _described(case: Case) -> dict[str, str]:
    return {"id": case.id, "modelpool": case.modelpool, "taskpool": case.taskpool}


def today() -> str:
    """The date, in UTC."""
    return datetime.now(tz=timezone.utc).date().isoformat()


def _attach(item: pytest.Item, verdict: Verdict) -> None:
    item.user_properties.append((_PROPERTY, json.dumps(verdict.to_dict())))


def verdict_of(report: Any) -> dict[str, Any] | None:
    """The verdict that a report carries; None where there is none."""
    for name, value in getattr(report, "user_properties", ()):
        if name == _PROPERTY and isinstance(value, str):
            loaded: dict[str, Any] = json.loads(value)
            return loaded
    return None
