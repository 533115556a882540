"""``fusion_bench baseline`` as typed, on a store whose runs differ in known ways."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.cli import main
from fusion_bench.cli.baseline import OK, REGRESSED, UNTESTABLE
from fusion_bench.tracking import Store, locate_store
from tests.helpers.results import make_result, right
from tests.helpers.stored_runs import store_run
from tests.tracking.conftest import empty_database  # noqa: F401 - a fixture

SOURCES = {"a": np.arange(400) // 40}
# what is lost is three sources of ten: sure where each of 120 examples counts, and not where each source does
LOST = {"a": np.arange(400) >= 120, "b": right(300, 0.5)}
ALL = {"a": right(400, 1.0), "b": right(300, 0.5)}


@pytest.fixture(scope="module")
def uri(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:  # noqa: F811
    folder = tmp_path_factory.mktemp("gated")
    shutil.copy(empty_database, folder / "mlflow.db")
    store = Store(locate_store(f"sqlite:///{folder}/mlflow.db"))
    chance = {"deterministic": False}
    older = {key: value for key, value in make_result(LOST, label="older", **chance).items() if key != "clusters"}
    for number, (result, options) in enumerate(
        [
            (make_result(ALL, label="drawn", **chance), {}),
            (make_result(LOST, label="drawn", **chance), {"clusters": SOURCES}),
            (make_result(ALL, label="older", **chance), {}),
            (older, {"clusters": SOURCES}),
            (make_result(), {}),
            (make_result(trials={"clean": ALL}), {}),
        ]
    ):
        store_run(store, result, folder / str(number), **options)
    return store.location.uri


@pytest.fixture
def typed(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.yaml").write_text("task_tolerance: 0.5\nmean_tolerance: 0.5\n")

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["baseline", *words, "--baselines", str(tmp_path), "--tracking-uri", uri])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.mark.parametrize("label", ["drawn", "older"])
def test_a_difference_counts_examples_of_one_source_together(typed, tmp_path: Path, label: str) -> None:
    typed("update", f"{label}@1")
    status, out, _ = typed("diff", label)
    assert (status, out.strip()) == (OK, "1 of 1 as before")
    typed("update", label)
    content = json.loads((tmp_path / "p" / "t" / f"{label}.json").read_text())
    assert "clusters" not in content  # they come with the run that is held against it


def test_a_baseline_without_trials_says_that_only_the_main_one_was_judged(typed) -> None:
    typed("update", "ties@1")
    status, out, _ = typed("diff", "ties")
    assert status == OK
    assert "ties-p-t: its baseline holds the main trial alone: 1 others were not judged" in out
    _, out, _ = typed("update", "ties")
    assert "as before" not in out
    assert typed("diff", "ties")[1].strip() == "1 of 1 as before"


def test_an_accepted_reason_stays_through_updates(typed, tmp_path: Path) -> None:
    typed("update", "drawn@1")
    typed("accept", "drawn", "--because", "three  sources\nfewer")
    typed("update", "drawn@1")
    (entry,) = json.loads((tmp_path / "p" / "t" / "drawn.json").read_text())["accepted"]
    assert (entry["because"], entry["was"]) == ("three sources fewer", 0.75)
    assert "(0.7500 before): three sources fewer" in typed("show", "drawn")[1]


def test_one_that_is_damaged_is_named_and_leaves_the_others(typed, tmp_path: Path) -> None:
    typed("update", "drawn@1", "older@1")
    (tmp_path / "p" / "t" / "older.json").write_text("{")
    status, out, err = typed("show")
    assert (status, [line.split()[0] for line in out.splitlines()]) == (REGRESSED, ["drawn-p-t"])
    assert "older.json cannot be read" in err
    status, out, err = typed("diff")
    assert status == REGRESSED
    assert "1 of 2 as before" in out
    _, _, err = typed("update", "older")
    assert "it is made anew" in err


def test_a_check_that_cannot_run_says_so_to_git_bisect(typed) -> None:
    typed("update", "ties")
    assert typed("check", "ties")[0] == UNTESTABLE  # there is no pool p here
    assert typed("check", "nobody")[0] == UNTESTABLE


def test_an_update_of_everything_adds_nothing_that_nobody_asked_for(typed, tmp_path: Path) -> None:
    typed("update", "drawn@1")
    typed("update")
    assert [path.name for path in tmp_path.rglob("*.json")] == ["drawn.json"]
