"""The plugin on the toy pool: real models, real store."""

from __future__ import annotations

import importlib

import pytest

from tests.pytest_plugin.conftest import QUICK, TEST


@pytest.fixture
def toy(pytester: pytest.Pytester, toy_config, monkeypatch):
    """Runs a test of the cases on the toy pool, in this process."""
    importlib.import_module("mlflow")  # imported here, so that the second run in this process does not import it anew
    pytester.makepyfile(
        test_mine=TEST
        + """
def test_objects(algorithm, modelpool, taskpool, case):
    assert (modelpool.name, taskpool.name) == ("toy", "toy2")
    assert type(algorithm).__name__ == "SimpleAverage"
"""
    )
    monkeypatch.setenv("COLUMNS", "120")
    store = f"sqlite:///{pytester.path}/mlflow.db"
    options = ("--fb-config-path", str(toy_config), "--modelpool", "toy", "--tracking-uri", store)

    def run(*args: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*QUICK, *options, *args)

    return run, store


def test_a_run_per_case_then_reused(toy):
    run, uri = toy
    result = run("--algorithm", "simple_average")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(
        ["toy/toy2", "*experts*100.0*", "1  simple_average*", "*pretrained*", f"MLflow runs: {uri}", "toy/toy2: http*"]
    )

    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (run_found,) = client.search_runs([client.get_experiment_by_name("toy/toy2").experiment_id])
    assert run_found.info.status == "FINISHED"
    assert run_found.data.tags["mlflow.source.name"].startswith("pytest ")
    assert f"session+%3D+%27{run_found.data.tags['session']}%27" in result.stdout.str()  # the link filters by it

    again = run("--algorithm", "simple_average", "--resume", "-k", "test_fusion")
    again.stdout.fnmatch_lines(["*simple_average-toy-toy2*reused*"])
    assert len(client.search_runs([run_found.info.experiment_id])) == 1


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
