"""A store with its tables made, copied for each test: making them takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fusion_bench.tracking import Store, locate_store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    Store(locate_store(f"sqlite:///{path}"))
    return path


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> Store:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Store(locate_store(f"sqlite:///{tmp_path}/mlflow.db"))
