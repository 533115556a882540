"""The plugin on the toy pool: real models, real store; in processes of their own, as a user starts them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.pytest_plugin.conftest import QUICK, TEST

OBJECTS = """
def test_objects(algorithm, modelpool, taskpool, case):
    assert (modelpool.name, taskpool.name) == ("toy", "toy2")
    assert type(algorithm).__name__ == "SimpleAverage"
"""


def runs(database: Path) -> list[tuple[str, str, str]]:
    """Status, session and command line of every run of a case in a store."""
    with sqlite3.connect(database) as connection:
        return connection.execute(
            "SELECT r.status, s.value, c.value FROM runs r"
            " JOIN tags s ON s.run_uuid = r.run_uuid AND s.key = 'session'"
            " JOIN tags c ON c.run_uuid = r.run_uuid AND c.key = 'mlflow.source.name'"
            " JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = 'case'"
        ).fetchall()


def pages(database):
    """The artifacts of every run that keeps a session's page."""
    with sqlite3.connect(database) as connection:
        found = connection.execute(
            "SELECT r.artifact_uri FROM runs r"
            " JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = 'kind' AND k.value = 'session'"
        ).fetchall()
    return [Path(uri.removeprefix("file://")) / "report.html" for (uri,) in found]


def test_a_run_per_case_then_reused(pytester, toy_config, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    pytester.makepyfile(test_mine=TEST + OBJECTS)
    database = pytester.path / "mlflow.db"
    options = [*QUICK, "--fb-config-path", str(toy_config), "--modelpool", "toy", "--algorithm", "simple_average"]
    options += ["--tracking-uri", f"sqlite:///{database}"]

    first = pytester.runpytest_subprocess(*options)
    first.assert_outcomes(passed=2)
    first.stdout.fnmatch_lines(["toy/toy2", f"MLflow runs: sqlite:///{database}", "toy/toy2: http*"])
    first.stdout.fnmatch_lines_random(["*experts *100.0*", "1 *simple_average*", "*pretrained*"])
    ((status, _, command),) = runs(database)
    assert status == "FINISHED"
    assert command.startswith("pytest ")
    assert "--algorithm simple_average" in command
    assert "viewStateShareKey=leaderboard" in first.stdout.str()  # the link opens the table with metric columns

    (page,) = pages(database)
    assert "simple_average" in page.read_text(encoding="utf-8")
    first.stdout.fnmatch_lines([f"page: *{page}"])

    again = pytester.runpytest_subprocess(*options, "--resume", "-k", "test_fusion")
    again.stdout.fnmatch_lines(["*simple_average-toy-toy2*reused*"])
    assert len(runs(database)) == len(pages(database)) == 1  # nothing new, so no page of it


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["here", "worker"])
def test_a_server_that_does_not_answer_is_told_before_any_case_runs(pytester, toy_config, workers):
    pytester.makepyfile("def test_fusion(case): raise AssertionError('it ran')")
    result = pytester.runpytest_subprocess(
        *QUICK, "--fb-config-path", str(toy_config), "--modelpool", "toy", *workers,
        "--algorithm", "ties", "--tracking-uri", "http://127.0.0.1:9",
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: fusion_bench: the tracking server http://127.0.0.1:9 does not answer*"])
    assert "it ran" not in result.stdout.str()
