"""From YAML names to test cases: every test that uses our fixture ``case`` runs once per case of the matrix."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from fusion_bench.errors import FusionBenchError, nearest
from fusion_bench.pytest_plugin import marks
from fusion_bench.pytest_plugin import options as command_line
from fusion_bench.pytest_plugin.node_ids import case_id_of
from fusion_bench.pytest_plugin.status import write_line

if TYPE_CHECKING:
    from fusion_bench.cases import Case

PLUGIN_NAME = "fusion_bench.parametrize"
_WORDS = frozenset({"and", "or", "not", "True", "False", "None"})


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Parametrize(config)


def case_of(item: pytest.Item) -> Case | None:
    """The case an item runs; None for a test that is none of ours."""
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get("case") if callspec is not None else None
    if value is None:
        return None
    from fusion_bench.cases import Case

    return value if isinstance(value, Case) else None


def is_ours(item: pytest.Item) -> bool:
    """Whether an item fuses or analyses: it works on pools and leaves a tracked run."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return case_of(item) is not None or hasattr(params.get("analysis"), "experiment")


def _is_of_nothing(item: pytest.Item) -> bool:
    params = getattr(getattr(item, "callspec", None), "params", {})
    return "analysis" in params and params["analysis"] is None


def selection_line(cases: Sequence[Case], *, most: int = 8) -> str:
    """What was selected, in one line; long lists are cut and counted.

    Example:
        >>> from fusion_bench.cases import Case
        >>> selection_line([Case("ties", "clip_mini", "mini8"), Case("dare_ties", "clip_mini", "mini8")])
        'selected 2 algorithms: dare_ties, ties; 1 model pool: clip_mini; 1 task pool: mini8 (2 cases)'
    """

    def several(noun: str, names: Iterable[str]) -> str:
        unique = sorted(set(names))
        shown = ", ".join(unique[:most]) + (f" and {len(unique) - most} more" if len(unique) > most else "")
        return f"{len(unique)} {noun}{'s' if len(unique) != 1 else ''}: {shown}"

    parts = [
        several("algorithm", (c.algorithm for c in cases)),
        several("model pool", (c.modelpool for c in cases)),
        several("task pool", (c.taskpool for c in cases)),
    ]
    return f"selected {'; '.join(parts)} ({len(cases)} case{'s' if len(cases) != 1 else ''})"


def near_names(expression: str, cases: Iterable[Case]) -> list[str]:
    """Names close to the words of a ``-k`` expression that matched nothing.

    Example:
        >>> from fusion_bench.cases import Case
        >>> near_names("tiez and not dare", [Case("ties", "clip_mini", "mini8"), Case("slerp", "clip_mini", "mini8")])
        ['ties']
    """
    names = {name for case in cases for name in (case.algorithm, case.modelpool, case.taskpool)}
    found: dict[str, None] = {}
    for word in re.findall(r"[\w.\-]+", expression):
        if word not in _WORDS and not any(word.lower() in name for name in names):
            found.update(dict.fromkeys(nearest(word.lower().replace("-", "_"), sorted(names))))
    return list(found)


class _Parametrize:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._cases: list[Case] | None = None

    def cases(self) -> list[Case]:
        """The matrix of this session, made once."""
        if self._cases is None:
            named = [self._config.getoption("keyword", "") or "", *self._config.args]
            self._cases = make_cases(command_line.read(self._config), words=" ".join(named))
            marks.register_needs(self._config, (need for case in self._cases for need in case.needs))
        return self._cases

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        # a name mistyped on the command line ends the session here: one line, and no worker was started for it
        try:
            if command_line.read(self._config).chosen:
                self.cases()
        except FusionBenchError as error:
            raise pytest.UsageError(str(error)) from error

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" not in metafunc.fixturenames or not _is_our_fixture(metafunc):
            return
        try:
            cases = self.cases()
        except FusionBenchError as error:
            raise pytest.Collector.CollectError(f"fusion_bench: {error}") from error
        metafunc.parametrize("case", [_param(case) for case in cases], indirect=True)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # an analysis of nothing stands for "none was asked for": pytest would report an empty list as a skipped test
        nothing = [item for item in items if _is_of_nothing(item)]
        if nothing:
            items[:] = [item for item in items if item not in nothing]
            self._config.hook.pytest_deselected(items=nothing)

    def pytest_report_collectionfinish(self, config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
        cases = [case for case in map(case_of, items) if case is not None]
        return _selection_lines(config, cases)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        # the controller collects nothing itself; what the first worker found is what all run
        if getattr(self, "_said", False):
            return
        self._said = True
        case_ids = [case_id for case_id in map(case_id_of, ids) if case_id is not None]
        if not case_ids:
            return
        by_id = {case.id: case for case in self.cases()}
        found = [by_id[case_id] for case_id in case_ids if case_id in by_id]
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None and reporter.verbosity >= 0:
            for line in _selection_lines(self._config, found):
                write_line(reporter, line)


def make_cases(options: command_line.Options, *, words: str = "") -> list[Case]:
    """The cases that the options name, and variants whose names are among ``words``, from plain YAML only."""
    from fusion_bench.cases import matrix

    return matrix(
        algorithms=options.algorithms,
        modelpools=options.modelpools,
        taskpools=options.taskpools,
        overrides=options.overrides,
        seed=options.seed,
        device=options.device,
        config_dir=options.config_dir,
        words=words,
    )


def _selection_lines(config: pytest.Config, cases: Sequence[Case]) -> list[str]:
    if not cases:
        return []
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    width = reporter._tw.fullwidth if reporter is not None else 80
    lines = textwrap.wrap(f"fusion_bench: {selection_line(cases)}", width, subsequent_indent="  ")
    wanted = (config.getoption("keyword", "") or "").strip()
    algorithms = {case.algorithm for case in cases}
    if wanted in algorithms and len(algorithms) > 1:
        lines.append(f"  -k {wanted} is the whole family; only this one: --algorithm {wanted}")
    return lines


def _param(case: Case) -> Any:
    return pytest.param(case, id=case.id, marks=[getattr(pytest.mark, name) for name in (case.kind, *case.needs)])


def _is_our_fixture(metafunc: pytest.Metafunc) -> bool:
    # `case` is a common word: a project's own fixture or parametrisation of that name must stay untouched
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if "case" in ([n.strip() for n in names.split(",")] if isinstance(names, str) else names):
            return False
    definitions = metafunc._arg2fixturedefs.get("case", ())
    return bool(definitions) and definitions[-1].func.__module__ == "fusion_bench.pytest_plugin.fixtures"
