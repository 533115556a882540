"""The notebook of docs/ runs from its first cell to its last."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.tracking import Store, locate_store
from tests.helpers.results import make_result, right
from tests.helpers.stored_runs import store_run
from tests.tracking.conftest import empty_database  # noqa: F401 - a fixture

NOTEBOOK = Path(__file__).parents[1] / "docs" / "results.ipynb"


def test_the_notebook_runs(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    store = Store(locate_store(f"sqlite:///{tmp_path}/mlflow.db"))
    for label, share in (("ties", 0.75), ("slerp", 0.8), ("iso_c", 0.6)):
        correct = {"a": right(400, share), "b": np.roll(right(300, 0.5), 9)}
        store_run(store, make_result(correct=correct, label=label), tmp_path / label)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.location.uri)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "slerp - ties: +2.50 points" in text
