"""``bench/bench_analysis.py``, as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fusion_bench.analysis.case import ANALYSES

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench" / "bench_analysis.py"
OURS = [f"bench/bench_analysis.py::bench_analysis[{name}-clip_mini-mini8]" for name in ANALYSES]


def pytest_in(folder: Path, *arguments: str, code: str = "") -> subprocess.CompletedProcess:
    script = f"import sys, pytest\nrc = pytest.main({list(arguments)!r})\n{code}\nsys.exit(rc)"
    return subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=300)


def collected(*arguments: str) -> list[str]:
    done = pytest_in(ROOT, "bench", "--collect-only", "-q", "--taskpool", "mini8", *arguments)
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_collecting_imports_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "pandas", "scipy", "matplotlib", "hydra", "transformers")
    code = f"print('heavy:', sorted(set({heavy!r}) & set(sys.modules)))"
    done = pytest_in(ROOT, "bench", "--collect-only", "-q", "--taskpool", "mini8", "-k", "analysis", code=code)
    assert [line for line in done.stdout.splitlines() if "::" in line] == OURS
    assert done.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize(
    ("arguments", "ours"),
    [
        ((), OURS),
        (("-m", "analysis"), OURS),
        (("-k", "cosines"), OURS[:1]),
        (("-m", "merging"), []),
        (("-k", "ties"), []),
    ],
    ids=["all", "mark", "one", "merging", "ties"],
)
def test_what_is_selected(arguments: tuple[str, ...], ours: list[str]) -> None:
    found = collected(*arguments)
    assert [nodeid for nodeid in found if "bench_analysis" in nodeid] == ours
    assert any("bench_fusion" in nodeid for nodeid in found) == (arguments in [(), ("-m", "merging"), ("-k", "ties")])


@pytest.mark.parametrize("arguments", [("--algorithm", "ties"), ("--override", "algorithm.scaling=0.4")], ids=" ".join)
def test_where_algorithms_are_named_no_analysis_runs(arguments: tuple[str, ...]) -> None:
    ours = [nodeid for nodeid in collected(*arguments) if "bench_analysis" in nodeid]
    assert ours == []


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["here", "workers"])
def test_analyses_run_and_their_runs_finish(workers: tuple[str, ...], tmp_path: Path, toy_config: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = bench_*.py\npython_functions = bench_*\n")
    (tmp_path / BENCH.name).write_text(BENCH.read_text())
    options = [
        BENCH.name,
        "-c",
        "pytest.ini",
        "--fb-config-path",
        str(toy_config),
        "--modelpool",
        "toy",
        "--strict-markers",
        "-p",
        "no:hydra_pytest",
    ]
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    done = pytest_in(tmp_path, *options, "--tracking-uri", store, "-k", "cosines or kinship", *workers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    if not workers:
        assert "cosines-toy-toy2: cosine/mean" in done.stdout
    from mlflow import MlflowClient

    client = MlflowClient(store)
    found = client.search_runs([client.get_experiment_by_name("toy/toy2 analysis").experiment_id])
    assert {(run.info.run_name, run.info.status) for run in found} == {("cosines", "FINISHED"), ("kinship", "FINISHED")}


def test_a_mistyped_pool_is_one_line() -> None:
    done = pytest_in(ROOT, str(BENCH), "--modelpool", "clip_mni", "--collect-only")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unknown modelpool 'clip_mni'" in done.stderr + done.stdout
