"""The database that another process makes while this one loads its libraries."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.tracking import Store, locate_store
from fusion_bench.tracking.ahead import created_meanwhile


def test_a_missing_database_is_there_at_the_end_and_one_that_is_there_is_left_alone(tmp_path: Path) -> None:
    location = locate_store(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    (tmp_path / "mlruns").mkdir()
    with created_meanwhile(location):
        pass
    assert location.database is not None
    assert location.database.stat().st_size > 100_000
    before = location.database.read_bytes()
    with created_meanwhile(location):
        pass
    assert location.database.read_bytes() == before
    assert Store(location).client.search_experiments()


def test_an_interrupt_meanwhile_leaves_no_process_behind(tmp_path: Path) -> None:
    import psutil

    location = locate_store(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(KeyboardInterrupt), created_meanwhile(location):
        raise KeyboardInterrupt
    assert not [p for p in psutil.Process().children() if location.uri in " ".join(p.cmdline())]
