"""``--dry-run``: what the selected cases would read, hold and write; nothing is fused."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from fusion_bench.disk import byte_text
from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin import options as command_line
from fusion_bench.pytest_plugin.parametrize import case_of
from fusion_bench.pytest_plugin.status import write_line

if TYPE_CHECKING:
    from fusion_bench.cases.outlook import CaseOutlook, PoolOutlook


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _DryRun(config)


class _DryRun:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """In the place of the loop that runs tests; before the store is made ready, which would write."""
        if not command_line.read(self._config).dry_run:
            return None
        from fusion_bench.cases.outlook import outlooks

        cases = [case for case in map(case_of, session.items) if case is not None]
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        try:
            found = outlooks(cases, config_dir=command_line.read(self._config).config_dir)
        except FusionBenchError as error:
            raise pytest.UsageError(f"fusion_bench: {error}") from error
        if reporter is not None:
            write_line(reporter, "")
            for line in lines(found, width=reporter._tw.fullwidth):
                write_line(reporter, line)
        return True


def lines(found: Sequence[CaseOutlook], *, width: int = 80) -> list[str]:
    """The plan of some cases, as it is printed.

    Example:
        >>> from fusion_bench.cases import Case
        >>> from fusion_bench.cases.outlook import outlooks
        >>> print(*lines(outlooks([Case("ties", "clip_mini", "mini8")])), sep="\\n")
        dry run: 1 case, nothing is fused
        model pool clip_mini: 10 models, 45 MB to read
        task pool mini8: 8 tasks, 17 MB to read
        case                  memory about  result
        ties-clip_mini-mini8  58 MB         6.3 MB
    """
    told = [f"dry run: {len(found)} case{'s' if len(found) != 1 else ''}, nothing is fused"]
    for pool in _unique(pool for one in found for pool in (one.modelpool, one.taskpool)):
        told += _pool_lines(pool, width)
    rows = [("case", "memory about", "result")]
    for one in found:
        memory = "not known yet" if one.memory is None else byte_text(one.memory)
        rows.append((one.case.id, memory, "-" if not one.writes else byte_text(one.writes)))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    table = [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip() for row in rows] if found else []
    return told + table


def _pool_lines(pool: PoolOutlook, width: int) -> list[str]:
    kind, noun = ("model pool", "models") if pool.group == "modelpool" else ("task pool", "tasks")
    text = f"{kind} {pool.name}: {pool.parts} {noun}"
    text += f", {byte_text(pool.bytes)} to read" if pool.bytes else ""
    if not pool.missing:
        return [text]
    whole = f" (about {byte_text(pool.download)} in all)" if pool.download else ""
    text += f"; not here: {', '.join(pool.missing)}{whole}"
    todo = [f"  fetch it: {pool.fetch}" if pool.fetch else "", f"  make it: {pool.make}" if pool.make else ""]
    return [*textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False), *filter(None, todo)]


def _unique(pools: Iterable[PoolOutlook]) -> list[PoolOutlook]:
    return list({(pool.group, pool.name, pool.bytes, tuple(pool.missing)): pool for pool in pools}.values())
