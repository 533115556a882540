"""The tracking store, made ready by the controller before the first case starts, and opened by each process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin.node_ids import case_id_of
from fusion_bench.pytest_plugin.parametrize import case_of

if TYPE_CHECKING:
    from fusion_bench.cases import Session


def plugin(config: pytest.Config) -> object:
    """The plugin object to register."""
    return _Store(config)


class _Store:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._ready = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        collect_only = session.config.getoption("collectonly", False)
        if not collect_only and any(case_of(item) is not None for item in session.items):
            self._prepare()
        return (yield)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        # a worker has collected and none has been given work yet: the last moment before several open the store
        if any(case_id_of(nodeid) for nodeid in ids):
            self._prepare()

    def _prepare(self) -> None:
        if self._ready or hasattr(self._config, "workerinput"):
            return
        self._ready = True
        try:
            prepare(self._config)
        except FusionBenchError as error:
            raise pytest.UsageError(f"fusion_bench: {error}") from error


def prepare(config: pytest.Config) -> None:
    """Create or probe the store that the options name."""
    raise NotImplementedError


def open_session(config: pytest.Config) -> Session:
    """What the cases of this process share."""
    raise NotImplementedError


def closing_lines(config: pytest.Config) -> list[str]:
    """Where the runs are, and how to open them."""
    return []
