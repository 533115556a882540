"""Settings for the tests of this checkout. Options and fixtures come from the plugin `fusion_bench.pytest_plugin`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

_SPEED = Path(__file__).parent / "bench" / "speed"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Speed is measured when it is asked for by path: `pytest bench` fuses and evaluates."""
    if collection_path == _SPEED or _SPEED in collection_path.parents:
        return None if any("speed" in str(argument) for argument in config.args) else True
    return None
