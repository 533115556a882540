"""``--baseline`` and ``--update-baseline``, with a `run_case` that fuses nothing and turns what a test asks it to."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
import scipy.special  # noqa: F401 - what an inner session imports first, pytest unloads

import fusion_bench.cases.run
import fusion_bench.regression.summary  # noqa: F401
from tests.pytest_plugin.conftest import ALGORITHM, run, run_apart, write_yaml

FAKES = """
import contextlib, os
import numpy as np
import pytest
import fusion_bench.cases
import fusion_bench.cases.run
from fusion_bench.metrics.packing import pack
from fusion_bench.pytest_plugin import store

def run_case(case, session, progress):
    lost = int(os.environ.get(f"LOST_{case.algorithm}", "0"))
    correct = np.arange(500) < 400
    correct[:lost] = False
    outcome = {"mnist": {"n": 500, "correct": pack(correct), "predictions": pack(correct)}}
    still = {"mnist": {"n": 500, "correct": pack(np.arange(500) < 100), "predictions": "still"}}
    mean = float(correct.mean())
    seconds = float(os.environ.get(f"RATIO_{case.algorithm}", "10"))
    metrics = {"accuracy/mnist": mean, "accuracy/mean": mean, "cost/fusion_seconds": 1.0, "cost/fusion_ratio": seconds,
               "cost/evaluation_seconds": 1.0, "cost/fusion_memory_mb": 1.0}
    names = {"algorithm": case.algorithm, "modelpool": case.modelpool, "taskpool": case.taskpool}
    names |= {"overrides": list(case.overrides), "seed": case.seed, "device": "cpu", "id": case.id}
    commit = os.environ.get("COMMIT", "aaaaaaaaaaaa")
    return fusion_bench.cases.CaseResult(
        names, case.kind, ["mnist"], metrics, [mean, mean], ["weights"], {"algorithm": {}}, "f" * 8,
        tags={"commit": commit, "versions": "{}", "machine": "m"}, outcomes=outcome, data={"mnist": "d"},
        reference_outcomes={"pretrained": still, "experts": still},
    )

def fuse_again(case, session, result):
    with open("again.txt", "a") as log:
        log.write(case.algorithm + "\\n")
    return {"cost/fusion_seconds": 1.0, "cost/fusion_ratio": float(os.environ.get("AGAIN", "10"))}

patch = pytest.MonkeyPatch()
patch.setitem(vars(fusion_bench.cases), "run_case", run_case)
patch.setattr(fusion_bench.cases.run, "fuse_again", fuse_again)
patch.setattr(store, "prepare", lambda config, **_: None)
patch.setattr(store, "open_session", lambda config: contextlib.nullcontext())
patch.setattr(store, "closing_lines", lambda config, experiments: [])

def pytest_unconfigure():
    patch.undo()
"""
POOL = ("--modelpool", "toy_one")


@pytest.fixture
def gated(project: pytest.Pytester) -> pytest.Pytester:
    """The project with baselines of two algorithms; a third has none."""
    project.makeconftest(FAKES)
    result = run(project, "--algorithm", "zz_ties,zz_plain", *POOL, "--update-baseline")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["=* baselines =*", "2 new", "look at the diff before you commit it"])
    return project


def baselines(project: pytest.Pytester) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(project.path.glob("bench/baselines/toy_one/toy_tasks/*"))}


def test_what_is_as_before_passes(gated: pytest.Pytester) -> None:
    result = run(gated, "--algorithm", "zz_ties,zz_plain", *POOL, "--baseline")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["=* baselines =*", "2 as before"])


def test_a_loss_fails_with_its_reason_and_what_to_do(gated: pytest.Pytester, monkeypatch) -> None:
    monkeypatch.setenv("LOST_zz_ties", "60")
    monkeypatch.setenv("COMMIT", "bbbbbbbbbbbb")
    names = "zz_ties,zz_plain,zz_dare_ties"
    result = run(gated, "--algorithm", names, *POOL, "--baseline", "--junitxml", "j.xml", "--markdown", "s.md")
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "zz_ties-toy_one-toy_tasks is worse than its baseline (20??-??-??, aaaaaaaaa)",
            "  mean * 80.00 → 68.00 %, -12.00 [[]-*, -*[]] points, p = *",
            "  mnist * lost 60, gained 0, p = *",
            "look at: the method zz_ties or the weights engine: base model and experts score as before",
            "  commits: git log --oneline aaaaaaaaaaaa..bbbbbbbbbbbb -- fusion_bench",
            'if it is right: fusion_bench baseline accept "zz_ties-toy_one-toy_tasks" --because*',
            "=* leaderboard =*",
            "*zz_ties*68.0*",  # a case that fails has measured something all the same
            "=* baselines =*",
            "1 worse; 1 without a baseline; 1 as before",
            "give them a baseline: pytest bench --update-baseline --algorithm zz_dare_ties --fb-config-path */conf",
            "  zz_ties-toy_one-toy_tasks  worse        mean -12.00, mnist -12.00 points",
            "rerun:  python -m fusion_bench baseline check --config-path */conf zz_ties-toy_one-toy_tasks",
            "bisect: git checkout -q aaaaaaaaaaaa && sh outputs/bisect/check.sh && git bisect start bbbbbbbbbbbb*",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    kept = gated.path / "outputs" / "bisect" / "toy_one" / "toy_tasks" / "zz_ties.json"
    assert kept.read_text() == baselines(gated)["zz_ties.json"]
    (failure,) = ElementTree.parse(gated.path / "j.xml").getroot().iter("failure")
    assert "is worse than its baseline" in (failure.text or "")
    summary = (gated.path / "s.md").read_text()
    assert summary.startswith("## 1 of 3 cases hold; 1 worse; 1 without a baseline\n")
    assert "--plugin" not in (gated.path / "outputs/bisect/check.sh").read_text()
    assert "--config-path" in (gated.path / "outputs/bisect/check.sh").read_text()
    assert "| 1 | " in summary


def test_without_the_option_nothing_is_held_against_anything(gated: pytest.Pytester, monkeypatch) -> None:
    monkeypatch.setenv("LOST_zz_ties", "60")
    result = run(gated, "--algorithm", "zz_ties", *POOL)
    result.assert_outcomes(passed=1)
    assert "baselines" not in result.stdout.str()


def test_an_update_leaves_alone_what_measured_the_same(gated: pytest.Pytester, monkeypatch) -> None:
    before = baselines(gated)
    monkeypatch.setenv("LOST_zz_ties", "60")
    monkeypatch.setenv("COMMIT", "bbbbbbbbbbbb")
    result = run(gated, "--algorithm", "zz_ties,zz_plain", *POOL, "--update-baseline")
    result.stdout.fnmatch_lines(["1 rewritten; 1 as before"])
    after = baselines(gated)
    assert after["zz_plain.json"] == before["zz_plain.json"]
    assert json.loads(after["zz_ties.json"])["accuracy"]["mnist"] == 0.68
    run(gated, "--algorithm", "zz_ties", *POOL, "--baseline").assert_outcomes(passed=1)


def test_a_slow_fusion_is_timed_again_before_it_fails(gated: pytest.Pytester, monkeypatch) -> None:
    monkeypatch.setenv("RATIO_zz_ties", "50")
    (gated.path / "again.txt").unlink()
    run(gated, "--algorithm", "zz_ties", *POOL, "--baseline").assert_outcomes(passed=1)
    assert (gated.path / "again.txt").read_text() == "zz_ties\n"
    monkeypatch.setenv("AGAIN", "50")
    result = run(gated, "--algorithm", "zz_ties", *POOL, "--baseline")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["zz_ties-toy_one-toy_tasks costs more than its baseline*", "*50 times the calibration*"]
    )


CRASH = """
def test_fusion(case, tracked_run):
    if case.algorithm == "zz_plain":
        raise RuntimeError("boom")
    tracked_run()
"""


def test_all_hold_is_said_only_where_all_were_held(gated: pytest.Pytester) -> None:
    gated.makepyfile(test_mine=CRASH)
    (gated.path / "s.md").write_text("## All 2 cases hold (of last night)")
    result = run(gated, "--algorithm", "zz_ties,zz_plain", *POOL, "--baseline", "--markdown", "s.md")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["1 as before; 1 could not run"])
    assert (gated.path / "s.md").read_text().startswith("## 1 of 2 cases hold; 1 could not run\n")
    run(gated, "--algorithm", "zz_plain,zz_ties", *POOL, "--baseline", "--markdown", "s.md", "-x")
    assert (gated.path / "s.md").read_text().startswith("## 0 of 2 cases hold; 1 could not run; 1 not run\n")


def test_what_cannot_be_is_said_before_any_case_runs(gated: pytest.Pytester) -> None:
    for words, said in (
        (("--baseline", "--update-baseline"), "give one of them"),
        (("--baseline", "--baselines", "bench/baselinez"), "no baselines at "),
        (("--markdown", "conf/algorithm/zz_ties.yaml/s.md"), "cannot write "),
    ):
        result = run(gated, "--algorithm", "zz_ties", *POOL, *words)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*{said}*"])


def test_a_store_that_went_away_takes_no_verdict_with_it(gated: pytest.Pytester, monkeypatch) -> None:
    text = (gated.path / "conftest.py").read_text()
    gated.makeconftest(text.replace("lambda config, experiments: []", "lambda config, experiments: 1 / 0"))
    monkeypatch.setenv("LOST_zz_ties", "60")
    result = run(gated, "--algorithm", "zz_ties", *POOL, "--baseline")
    result.stdout.fnmatch_lines(["the store does not answer any more: division by zero", "1 worse"])


def test_workers_judge_alike(gated: pytest.Pytester, monkeypatch) -> None:
    monkeypatch.setenv("LOST_zz_ties", "60")
    result = run_apart(gated, "--algorithm", "zz_ties,zz_plain", *POOL, "--baseline", "-n", "2")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["1 worse; 1 as before"])


@pytest.mark.parametrize(("text", "said"), [("{", "cannot be read"), ('{"schema": 0}', "is of schema 0")])
def test_a_damaged_baseline_fails_its_case_and_no_other(gated: pytest.Pytester, text: str, said: str) -> None:
    (gated.path / "bench/baselines/toy_one/toy_tasks/zz_ties.json").write_text(text)
    result = run(gated, "--algorithm", "zz_ties,zz_plain", *POOL, "--baseline")
    result.assert_outcomes(passed=1, failed=1)
    assert said in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_settings_that_are_wrong_are_named(gated: pytest.Pytester) -> None:
    (gated.path / "bench/baselines/gate.yaml").write_text("levle: 0.1\n")
    result = run(gated, "--algorithm", "zz_ties", *POOL, "--baseline")
    result.stdout.fnmatch_lines(["*did you mean 'level'?*"])
    assert result.ret != 0


def test_baselines_may_lie_elsewhere(gated: pytest.Pytester) -> None:
    write_yaml(gated, "algorithm", "zz_new", ALGORITHM.format(kind="merging", more=""))
    run(gated, "--algorithm", "zz_new", *POOL, "--update-baseline", "--baselines", "other").assert_outcomes(passed=1)
    assert (gated.path / "other/toy_one/toy_tasks/zz_new.json").is_file()


def test_the_help_names_them(gated: pytest.Pytester) -> None:
    text = subprocess.run(
        ["python", "-m", "pytest", "--help"], cwd=gated.path, capture_output=True, text=True, check=True
    ).stdout
    for option in ("--baseline,", "--update-baseline", "--baselines", "--markdown"):
        assert option in text
