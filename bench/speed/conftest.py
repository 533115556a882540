"""The table at the end: ratios and targets, where pytest-benchmark prints times only."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    for benchmark in getattr(session, "benchmarks", ()):
        shown = ", ".join(f"{key} {value}" for key, value in benchmark.extra_info.items())
        ratio, target = benchmark.extra_info.get("ratio"), benchmark.extra_info.get("target")
        verdict = "" if ratio is None else ("  met" if ratio <= target else "  MISSED")
        terminalreporter.write_line(f"{benchmark.name}: {shown}{verdict}")
