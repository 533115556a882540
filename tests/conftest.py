"""Fixtures that several folders of tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toy_assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy pool's folders; read-only: a test that alters files makes a copy."""
    from tests.helpers.toy_pool import write_toy_assets

    return write_toy_assets(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_config(toy_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``--config-path`` with modelpool ``toy`` and taskpool ``toy2``."""
    from tests.helpers.toy_pool import write_toy_configs

    return write_toy_configs(tmp_path_factory.mktemp("config"), toy_assets)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests decode into a cache of their own, and track nowhere by accident."""
    monkeypatch.setenv("FUSION_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
