"""The pytest door: cases made from YAML names, run on the fixtures below, compared at the end.

Loaded by the entry point ``fusion_bench`` in *every* pytest run of the environment (``-p no:fusion_bench`` switches it
off), so this file imports nothing heavy and the plugin stays silent until a test asks for the fixture ``case``.
"""

from __future__ import annotations

import pytest

from fusion_bench.pytest_plugin.fixtures import algorithm, case, fusion_session, modelpool, taskpool, tracked_run
from fusion_bench.pytest_plugin.options import pytest_addoption, pytest_cmdline_main, pytest_load_initial_conftests

__all__ = [
    "algorithm",
    "case",
    "fusion_session",
    "modelpool",
    "pytest_addoption",
    "pytest_cmdline_main",
    "pytest_configure",
    "pytest_load_initial_conftests",
    "taskpool",
    "tracked_run",
]


def pytest_configure(config: pytest.Config) -> None:
    """Register one small plugin per role; the marks are named here so that ``--strict-markers`` knows them."""
    from fusion_bench.pytest_plugin import (
        dry_run,
        failures,
        gate,
        interrupts,
        marks,
        needs,
        parametrize,
        progress,
        scheduler,
        store,
        summary,
    )

    marks.register(config)
    for role in (parametrize, dry_run, store, needs, failures, interrupts, progress, gate, summary):
        config.pluginmanager.register(role.plugin(config), f"fusion_bench.{role.__name__.rpartition('.')[2]}")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(scheduler.plugin(config), "fusion_bench.scheduler")
