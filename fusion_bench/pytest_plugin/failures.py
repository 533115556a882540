"""An error the user can mend is shown as its message; a traceback is for what we did not foresee."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin.parametrize import is_ours


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Failures()


class _Failures:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
        report = yield
        if call.excinfo is not None and call.excinfo.errisinstance(FusionBenchError) and is_ours(item):
            report.longrepr = str(call.excinfo.value)
        return report
