"""Where runs go."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking import StoreLocation, experiment_link, locate_store, ui_command


@pytest.mark.parametrize("marker", ["mlruns", "pyproject.toml"])
def test_the_default_is_the_projects_mlruns_from_any_folder_in_it(tmp_path: Path, marker: str) -> None:
    (tmp_path / marker).mkdir() if marker == "mlruns" else (tmp_path / marker).touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    found = locate_store(start=deep)
    assert found.uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert found.artifacts == tmp_path / "mlruns" / "artifacts"
    assert found.database == tmp_path / "mlruns" / "mlflow.db"


def test_the_environment_is_honoured_and_an_option_beats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    assert locate_store(start=tmp_path) == StoreLocation("http://127.0.0.1:5001", None)
    assert locate_store("sqlite:///other.db", start=tmp_path).database == tmp_path / "other.db"


def test_relative_databases_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate_store("sqlite:///here/runs.db").uri == f"sqlite:///{tmp_path}/here/runs.db"
    assert locate_store(f"sqlite:///{tmp_path}/runs.db").uri == f"sqlite:///{tmp_path}/runs.db"


@pytest.mark.parametrize("uri", ["./mlruns", "file:./mlruns", "/abs/mlruns"])
def test_mlflows_dead_folder_stores_are_refused_with_a_way_out(uri: str) -> None:
    with pytest.raises(FusionBenchError, match=r"(?s)is a folder.*sqlite:///.*mlruns/mlflow\.db"):
        locate_store(uri)


def test_a_copied_command_survives_the_shell() -> None:
    assert ui_command(StoreLocation("sqlite:////my runs/mlflow.db", None)).endswith("'sqlite:////my runs/mlflow.db'")


def test_links_sort_by_the_headline_and_filter_by_session() -> None:
    link = experiment_link("7", session="abc", charts=True, root="http://host:1")
    assert link.startswith("http://host:1/#/experiments/7/runs?")
    for part in (
        "orderByKey=metrics.%60accuracy%2Fmean%60",
        "orderByAsc=false",
        "compareRunsMode=CHART",
        "tags.session",
    ):
        assert part in link
