"""A case whose need is absent here is skipped, and says why and what would help."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from fusion_bench.pytest_plugin.parametrize import case_of


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Needs()


class _Needs:
    def __init__(self) -> None:
        self._missing: dict[str, str | None] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        case = case_of(item)
        if case is None:
            return
        for need in case.needs:
            if need not in self._missing:
                self._missing[need] = missing(need)
            reason = self._missing[need]
            if reason is not None:
                pytest.skip(reason)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        report = yield
        if report.skipped and case_of(item) is not None and isinstance(report.longrepr, tuple):
            # the reason stands at the test that was skipped, not in this file
            path, line, _ = item.reportinfo()
            report.longrepr = (str(path), (line or 0) + 1, report.longrepr[2])
        return report


def missing(need: str) -> str | None:
    """Why a need is not met on this machine; None where it is met, or is nothing a machine could lack."""
    check = _CHECKS.get(need)
    return check() if check is not None else None


def _no_gpu() -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    return "needs a GPU, and torch sees none here (leave these out with -m 'not gpu')"


def _no_network() -> str | None:
    import os
    import socket

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return None  # the user says the files are in the cache; a missing one is then reported by name
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").split("://")[-1].split("/")[0]
    name, _, port = host.partition(":")
    try:
        socket.create_connection((name, int(port or 443)), timeout=3).close()
    except OSError as error:
        return (
            f"needs {host}, which does not answer here ({error}); fetch once where it does, "
            "then run with HF_HUB_OFFLINE=1"
        )
    return None


def _no_corruptions() -> str | None:
    from fusion_bench.datasets.corruption import unavailable

    return unavailable()


_CHECKS: dict[str, Callable[[], str | None]] = {
    "gpu": _no_gpu,
    "network": _no_network,
    "robustness": _no_corruptions,
}
