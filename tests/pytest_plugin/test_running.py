"""Cases that run, with a `run_case` that fuses nothing (see conftest.py)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch  # noqa: F401 - the check for a GPU imports it, and what an inner session imports first, pytester unloads

from tests.pytest_plugin.conftest import QUICK, run, run_apart, write_yaml


@pytest.fixture
def log(running):
    """Which worker ran which pool and algorithm, in the order they ran."""

    def read() -> list[list[str]]:
        return [line.split() for line in (running.path / "log.txt").read_text().splitlines()]

    return read


def test_a_line_per_case_then_the_leaderboard(running, log):
    result = run(running, "--algorithm", "zz_ties,zz_plain,zz_bound,zz_needy", "--modelpool", "toy_one", "-rs")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "  zz_ties-toy_one-toy_tasks   57.0 %   63.3 % of experts    1.5 s  [[]1/4, 0:00 left[]]",
            "  zz_plain-toy_one-toy_tasks  58.0 %   64.4 % of experts    1.5 s  [[]2/4, 0:00 left[]]",
            "  zz_bound-toy_one-toy_tasks  58.0 %*",
            "  zz_needy-toy_one-toy_tasks  skipped: needs a GPU, and torch sees none here*",
            "=* leaderboard =*",
            "toy_one/toy_tasks",
            "#  algorithm  *mnist* mean* 95 %* norm* data* s",
            "   zz_bound *58.0 *",
            "1  zz_plain *58.0[*] *57.0–59.0 *64.4[*]*",
            "2  zz_ties *57.0 *",
            "MLflow: sqlite:///nowhere.db",
            "SKIPPED [[]1[]] test_mine.py:*: needs a GPU*",
            "=* 3 passed, 1 skipped in *",
        ]
    )
    assert [line[2] for line in log()] == ["zz_ties", "zz_plain", "zz_bound"]


def test_a_case_that_raises_leaves_the_others_to_go_on(running, log):
    result = run(running, "--algorithm", "raises,misused,zz_ties", "--modelpool", "toy_one")
    result.assert_outcomes(passed=1, failed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "  raises-toy_one-toy_tasks*FAILED: RuntimeError: boom inside",
            "  misused-toy_one-toy_tasks*FAILED: tensor 'a' is [[]2[]] in one.safetensors*",
            "  zz_ties-toy_one-toy_tasks*57.0 %*",
        ]
    )
    assert text.count("RuntimeError: boom inside") >= 2  # the traceback of what nobody foresaw is there
    misused = text.split("_ test_fusion[misused-toy_one-toy_tasks] _")[1].split("= leaderboard =")[0]
    assert "hint: one architecture" in misused
    assert "Error" not in misused  # neither traceback nor exception type
    assert "run_case" not in misused


def test_results_reach_junit_as_json(running):
    run(running, "--algorithm", "zz_ties", "--modelpool", "toy_one", "--junitxml", "out.xml")
    (found,) = ElementTree.parse(running.path / "out.xml").iter("property")
    assert json.loads(found.get("value"))["metrics"]["accuracy/mnist"] == pytest.approx(0.57)


def test_quiet_has_dots_and_still_the_leaderboard(running):
    result = run(running, "-q", "--algorithm", "zz_ties,zz_plain", "--modelpool", "toy_one")
    result.stdout.fnmatch_lines(["..*[[]100%[]]", "*leaderboard*"])
    assert "of experts " not in result.stdout.str().rsplit(" leaderboard =", 1)[0]


def test_verbose_has_the_accuracy_behind_the_verdict(running):
    result = run(running, "-v", "--algorithm", "zz_ties", "--modelpool", "toy_one")
    result.stdout.fnmatch_lines(["test_mine.py::test_fusion[[]zz_ties-toy_one-toy_tasks[]] PASSED 57.0 % *"])


def test_workers_have_a_pool_each_and_the_controller_the_leaderboards(running, log):
    running.makepyfile(test_other="def test_one(): pass\ndef test_two(): pass")
    result = run_apart(running, "-n", "2", "--algorithm", "zz_*ties,raises", "--modelpool", "toy_*")
    result.assert_outcomes(passed=6, failed=2)
    workers: dict[str, set[str]] = {}
    for worker, pool, _ in log():
        workers.setdefault(pool, set()).add(worker)
    assert {pool: len(found) for pool, found in workers.items()} == {"toy_one": 1, "toy_two": 1}
    assert workers["toy_one"] != workers["toy_two"]
    result.stdout.fnmatch_lines(
        ["fusion_bench: selected 3 algorithms: raises, zz_dare_ties, zz_ties; 2 model pools: *"]
    )
    result.stdout.fnmatch_lines_random(["toy_one/toy_tasks", "toy_two/toy_tasks", "MLflow: sqlite:///nowhere.db"])
    text = result.stdout.str().rsplit(" leaderboard =", 1)[1]
    assert [text.count(name) for name in ("1  zz_dare_ties", "2  zz_ties")] == [2, 2]


def test_near_names_cross_from_a_worker(running):
    result = run_apart(running, "-n", "1", "--algorithm", "zz_*", "--modelpool", "toy_one", "-k", "zz_tiez")
    result.stdout.fnmatch_lines(["fusion_bench: -k 'zz_tiez' matches no case; near: zz_ties*"])


def test_without_cases_xdist_distributes_as_it_always_does(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("i", range(8))
        def test_other(i): pass
        """
    )
    result = pytester.runpytest_subprocess(*QUICK, "-n", "2", "-v")
    result.assert_outcomes(passed=8)
    assert {"[gw0]", "[gw1]"} <= {line.split()[0] for line in result.outlines if line.startswith("[gw")}
    assert "selected" not in result.stdout.str()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["here", "worker"])
def test_sigterm_in_a_case_is_an_interrupt_so_that_runs_are_closed(running, workers):
    running.makepyfile(
        test_mine="""
        import pathlib, time

        def test_fusion(case, tracked_run):
            tracked_run()
            pathlib.Path("started").touch()
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                pathlib.Path("closed").touch()
                raise
        """
    )
    command = [sys.executable, "-m", "pytest", *QUICK, "--fb-config-path", "conf", *workers]
    command += ["--algorithm", "zz_ties", "--modelpool", "toy_one"]
    process = subprocess.Popen(command, cwd=running.path, stdout=subprocess.PIPE, text=True, env=os.environ | ON_PATH)
    wait_for(running.path / "started", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert (running.path / "closed").exists(), output
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_without_cases_ends_the_process_as_ever(pytester):
    pytester.makepyfile("import pathlib, time\ndef test_other(): pathlib.Path('started').touch(); time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-m", "pytest", *QUICK], cwd=pytester.path, stdout=subprocess.DEVNULL)
    wait_for(pytester.path / "started", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == -signal.SIGTERM


ON_PATH = {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))}


def wait_for(path, process, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    assert path.exists(), process.stdout.read() if process.stdout and process.poll() is not None else "did not start"


def test_a_case_whose_pool_is_not_here_says_what_fetches_it(running, log, tmp_path, monkeypatch):
    far = "type: hf_clip\nbase: you/base\nexperts: {{mnist: you/{}}}\ntaskpools: [toy_tasks]\nneeds: [network]\n"
    write_yaml(running, "modelpool", "far", far.format("expert"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(tmp_path))
    names = ("--algorithm", "zz_ties", "--modelpool", "far,toy_one", "-rs")
    result = run(running, *names)
    result.assert_outcomes(passed=1, skipped=1)
    command = "fusion_bench pools fetch far --config-path conf"
    assert f"fetch first: {command} (you/base: it is not in the cache; 1 more)" in "".join(result.outlines)
    for name in ("base", "expert"):
        (tmp_path / "you" / name).mkdir(parents=True)
        (tmp_path / "you" / name / "model.safetensors").touch()
    run(running, *names).assert_outcomes(passed=2)
    result = run(running, *names, "--override", "modelpool.base=you/other")
    result.assert_outcomes(passed=1, skipped=1)
    assert "fetch first: hf download you/other (you/other: it is not in the cache)" in "".join(result.outlines)
    assert len(log()) == 4


def test_a_case_whose_python_package_is_not_installed_says_how_to_install_it(pytester, tmp_path):
    folder = tmp_path / "config" / "modelpool"
    folder.mkdir(parents=True)
    sources = "base: python://no_such_package/model\nexperts: {nouns: package://minilm_lora/models/nouns}\n"
    text = f"type: hf_text_encoder\ninstall: pip install no-such-package\n{sources}taskpools: [text6]\n"
    (folder / "mine.yaml").write_text(text)
    pytester.makepyfile("def test_fusion(case, tracked_run): raise AssertionError('it ran')")
    options = ["--fb-config-path", str(tmp_path / "config"), "--modelpool", "mine", "--algorithm", "ties", "-rs"]
    result = pytester.runpytest_subprocess(*options, "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db")
    assert "install first: pip install no-such-package (the Python package" in "".join(result.outlines)


def test_a_case_whose_experts_a_command_makes_says_which(running, tmp_path, monkeypatch):
    experts = "base: you/base\nexperts: {mnist: ./runs/mnist}\ntaskpools: [toy_tasks]\n"
    write_yaml(running, "modelpool", "trained", "type: hf_clip\nmake: train.sh\n" + experts)
    write_yaml(running, "modelpool", "mistyped", "type: hf_clip\ninstall: pip install it\n" + experts)
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(tmp_path))
    (tmp_path / "you" / "base").mkdir(parents=True)
    (tmp_path / "you" / "base" / "model.safetensors").touch()
    names = ("--algorithm", "zz_ties", "-rs")
    result = run(running, *names, "--modelpool", "trained")
    result.assert_outcomes(skipped=1)
    assert "make first: train.sh (no such folder: runs/mnist)" in "".join(result.outlines)
    result = run(running, *names, "--modelpool", "trained", "--override", "modelpool.experts={mnist: ./rnus}")
    result.assert_outcomes(passed=1)  # it ran, and in earnest says that it has no such folder
    run(running, *names, "--modelpool", "mistyped").assert_outcomes(passed=1)
