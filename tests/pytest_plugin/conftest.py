"""A project of somebody else's: its own YAML, its own test of the cases, and a `run_case` that fuses nothing."""

from __future__ import annotations

import numpy  # noqa: F401 - what an inner session imports first, pytest unloads, and C code loads only once
import pytest
import scipy.special  # noqa: F401
import yaml  # noqa: F401

ALGORITHM = "type: ties\nkind: {kind}\nscaling: 0.3\n{more}"
POOL = "type: embedded_clip\npath: nowhere\ntaskpools: [toy_tasks]\n"

FAKES = """
import contextlib, os
import pytest
import fusion_bench.cases
from fusion_bench.errors import FusionBenchError
from fusion_bench.pytest_plugin import store

def run_case(case, session, progress):
    for done in range(2):
        progress("evaluate mnist", done, 2)
    if case.algorithm == "raises":
        raise RuntimeError("boom inside")
    if case.algorithm == "misused":
        raise FusionBenchError("tensor 'a' is [2] in one.safetensors, [3] in base.safetensors", hint="one architecture")
    mean = 0.5 + len(case.algorithm) / 100
    metrics = {"accuracy/mnist": mean, "accuracy/mean": mean, "normalized/mean": mean / 0.9}
    metrics |= {"cost/fusion_seconds": 0.5, "cost/evaluation_seconds": 1.0}
    names = {"algorithm": case.algorithm, "modelpool": case.modelpool, "taskpool": case.taskpool}
    names |= {"overrides": list(case.overrides), "seed": case.seed, "id": case.id}
    with open(os.environ["FUSION_TEST_LOG"], "a") as log:
        log.write(f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')} {case.modelpool} {case.algorithm}\\n")
    return fusion_bench.cases.CaseResult(
        names, case.kind, ["mnist"], metrics, [mean - 0.01, mean + 0.01], ["weights"], {}, "f" * 8
    )

patch = pytest.MonkeyPatch()
patch.setitem(vars(fusion_bench.cases), "run_case", run_case)  # an attribute lookup would import torch
patch.setattr(store, "prepare", lambda config, **_: None)
patch.setattr(store, "open_session", lambda config: contextlib.nullcontext())
patch.setattr(store, "closing_lines", lambda config, experiments: ["MLflow: sqlite:///nowhere.db"])

def pytest_unconfigure():
    patch.undo()
"""

TEST = """
def test_fusion(case, tracked_run):
    assert tracked_run().accuracy
"""

QUICK = ("-p", "no:hydra_pytest", "-p", "no:hypothesispytest", "-p", "no:cacheprovider")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Three algorithms of one family, others that fail or need what is missing, two model pools, no conftest."""
    algorithms = {
        "zz_ties": ("merging", ""),
        "zz_dare_ties": ("merging", ""),
        "zz_plain": ("ensemble", ""),
        "zz_bound": ("reference", ""),
        "zz_needy": ("merging", "needs: [gpu, moonlight]\n"),
    }
    for name, (kind, more) in algorithms.items():
        write_yaml(pytester, "algorithm", name, ALGORITHM.format(kind=kind, more=more))
    for name in ("toy_one", "toy_two"):
        write_yaml(pytester, "modelpool", name, POOL)
    write_yaml(pytester, "taskpool", "toy_tasks", "type: zero_shot_classification\npath: nowhere\n")
    pytester.makepyfile(test_mine=TEST)
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")
    monkeypatch.setenv("FUSION_TEST_LOG", str(pytester.path / "log.txt"))
    monkeypatch.setenv("COLUMNS", "100")
    return pytester


@pytest.fixture
def running(project: pytest.Pytester) -> pytest.Pytester:
    """The project with cases that run in an instant."""
    for name in ("raises", "misused"):
        write_yaml(project, "algorithm", name, ALGORITHM.format(kind="merging", more=""))
    project.makeconftest(FAKES)
    return project


def write_yaml(pytester: pytest.Pytester, group: str, name: str, text: str) -> None:
    """A YAML file in the project's own configuration."""
    folder = pytester.path / "conf" / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)


def collect(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Collect only, in this process, with the project's configuration and its first pool."""
    pool = () if any(a == "--modelpool" for a in args) else ("--modelpool", "toy_one")
    return pytester.runpytest_inprocess(*QUICK, "--fb-config-path", "conf", "--collect-only", *pool, *args)


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run in this process."""
    return pytester.runpytest_inprocess(*QUICK, "--fb-config-path", "conf", *args)


def run_apart(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run in a process of its own, for what starts workers."""
    return pytester.runpytest_subprocess(*QUICK, "--fb-config-path", "conf", *args)
