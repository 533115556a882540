"""``--baseline``: each case is held against its stored baseline; ``--update-baseline`` rewrites them instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin import options as command_line
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
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.cases: list[Case] = []
        self.seen: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.cases = list(dict.fromkeys(case for case in map(case_of, session.items) if case is not None))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            result, verdict = result_of(report), verdict_of(report)
            if result is not None and verdict is not None:
                self.seen.append((result, verdict))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        options = command_line.read(self._config)
        if not self.seen or not (options.baseline or options.update_baseline):
            return
        from fusion_bench.regression.summary import summary_lines

        terminalreporter.write_sep("=", "baselines")
        folder, root = baseline_folder(self._config), self._config.rootpath
        for line in summary_lines(self.seen, folder, root, updating=options.update_baseline):
            terminalreporter.write_line(line)


def markdown(config: pytest.Config) -> list[str]:
    """The verdicts of the session for a job's summary: failures in full, then what to do; nothing without a gate."""
    gate: Any = config.pluginmanager.get_plugin(PLUGIN_NAME)
    if not gate.seen or not command_line.read(config).baseline:
        return []
    from fusion_bench.regression import Verdict, message
    from fusion_bench.regression.summary import summary_lines

    verdicts = [Verdict.from_dict(verdict) for _, verdict in gate.seen]
    failing = [f"```\n{message(verdict)}\n```" for verdict in verdicts if verdict.fails]
    head = f"## {len(failing)} of {len(verdicts)} cases fail" if failing else f"## All {len(verdicts)} cases hold"
    lines = summary_lines(gate.seen, baseline_folder(config), config.rootpath)
    return [head, "", *failing, "```", *lines, "```", ""]


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
        _attach(item, update(baseline_folder(item.config), result.to_dict()))
    elif options.baseline:
        gate: Any = item.config.pluginmanager.get_plugin(PLUGIN_NAME)
        verdict = _judged(baseline_folder(item.config), gate.cases, result, again)
        _attach(item, verdict)
        if verdict.fails:
            from fusion_bench.regression import message

            raise BaselineFailure(message(verdict))


def update(folder: Path, result: dict[str, Any]) -> Verdict:
    """Write the baseline of a result, unless the one that is there measured the same."""
    from fusion_bench.regression import Verdict, from_result, path_of
    from fusion_bench.regression.baseline import read, same_measurement, write

    now = from_result(result, date=today())
    path = path_of(folder, now.case)
    try:
        old = read(path) if path.is_file() else None
    except FusionBenchError:
        old = None  # damaged, or of an older schema: that is what an update mends
    if old is not None and same_measurement(old, now):
        return Verdict(now.id, "as before")
    write(folder, now if old is None else _with_history(now, old))
    return Verdict(now.id, "new" if old is None else "rewritten")


def _with_history(now: Any, old: Any) -> Any:
    import dataclasses

    return dataclasses.replace(now, accepted=old.accepted)


def _judged(folder: Path, cases: list[Case], result: CaseResult, again: Again) -> Verdict:
    from fusion_bench.regression import Verdict, from_result, judge, path_of, read_settings
    from fusion_bench.regression.baseline import read

    content = result.to_dict()
    path = path_of(folder, result.case)
    if not path.is_file():
        return Verdict(result.case["id"], "new")
    settings, baseline = read_settings(folder), read(path)
    together = sum(path_of(folder, _described(case)).is_file() for case in cases)
    verdict = judge(baseline, from_result(content, date=today()), settings, cases=max(1, together))
    for _ in range(_AGAIN):
        if not any(finding.kind == "costlier" for finding in verdict.findings):
            break
        costs = again(result)
        better = {name: min(value, content["metrics"][name]) for name, value in costs.items()}
        content = {**content, "metrics": {**content["metrics"], **better}}
        verdict = judge(baseline, from_result(content, date=today()), settings, cases=max(1, together))
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
