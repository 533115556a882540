"""Which xdist worker runs which case: all cases of one model pool run on one worker, which loads that pool once.

xdist's own ``--dist loadgroup`` ignores its marks with pytest 9.2 (pytest-xdist issue 1386), hence a scheduler of our
own. It is a stand-in that becomes xdist's plain one when nothing collected is a case, so that other people's runs are
distributed as they always were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fusion_bench.pytest_plugin.node_ids import pool_of


def plugin(config: pytest.Config) -> object:
    """The plugin object to register; only where xdist is active."""
    return _Scheduler()


class _Scheduler:
    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        if config.getoption("dist", "no") != "load":
            return None  # the user chose another distribution
        return make_scheduler(config, log)


def make_scheduler(config: pytest.Config, log: Any) -> Any:
    """An xdist scheduler that decides, when the first worker has collected, between ours and the plain one."""
    from xdist.scheduler import LoadScheduling, LoadScopeScheduling

    from fusion_bench.registry import names

    pools = set(names("modelpool", config_dir=_config_dir(config)))

    class ByPool(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return pool_of(nodeid) or nodeid  # other tests are units of their own, as in plain "load"

    class FusionBenchScheduling:
        """Hands every call to the scheduler chosen; the choice falls with the first collection."""

        def __init__(self) -> None:
            self._chosen: Any = LoadScheduling(config, log)
            self._decided = False

        def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
            if not self._decided:
                self._decided = True
                if any(pool_of(nodeid) in pools for nodeid in collection):
                    early, self._chosen = self._chosen.nodes, ByPool(config, log)
                    for each in early:
                        self._chosen.add_node(each)
            self._chosen.add_node_collection(node, collection)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._chosen, name)

    return FusionBenchScheduling()


def _config_dir(config: pytest.Config) -> Any:
    from fusion_bench.pytest_plugin.options import read

    return read(config).config_dir
