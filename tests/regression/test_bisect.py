"""The `git bisect run` line of a failing night, in a clone with a bug planted three commits ago."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASE = "simple_average-toy-toy2"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path: Path, toy_config: Path) -> Path:
    """The package as it is now, and the toy pool as its own, in a repository of six commits; the fourth has the bug."""
    folder = tmp_path / "clone"
    package = folder / "fusion_bench"
    # what numba compiled comes along in __pycache__: compiling again takes longer than all the rest
    shutil.copytree(ROOT / "fusion_bench", package, ignore=shutil.ignore_patterns("clip_mini", "mini8", "*.pyc"))
    for path in toy_config.rglob("*.yaml"):
        shutil.copy(path, package / "config" / path.relative_to(toy_config))
    (folder / ".gitignore").write_text("outputs/\n__pycache__/\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    git(folder, "init", "-q", "-b", "main")
    average = package / "algorithms" / "simple_average.py"
    right = average.read_text()
    for number in range(6):
        (folder / "notes.txt").write_text(f"{number}\n")
        if number == 3:
            average.write_text(_with_bug(right))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"commit {number}")
    return folder


def _with_bug(text: str) -> str:
    """An average that is the base."""
    return text + (
        "\n\n_right = SimpleAverage.prepare\n\n\n"
        "def _wrong(self, scan):\n    _right(self, scan)\n    return lambda piece: piece.base\n\n\n"
        "SimpleAverage.prepare = _wrong\n"
    )


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_the_line_finds_the_commit(clone: Path) -> None:
    commits = git(clone, "log", "--format=%H", "--reverse").split()
    git(clone, "checkout", "-q", commits[0])
    update = ["-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hydra_pytest", "-q", "bench_toy.py"]
    test = "def test_fusion(case, tracked_run):\n    tracked_run()\n"
    (clone / "bench_toy.py").write_text(test)
    chosen = ["--algorithm", "simple_average", "--modelpool", "toy", "--save-models", "none"]
    store = ["--tracking-uri", f"sqlite:///{clone.parent}/mlflow.db", "--baselines", str(clone.parent / "baselines")]
    made = command(clone, *update, *chosen, *store, "--update-baseline")
    assert made.returncode == 0, made.stdout + made.stderr

    git(clone, "checkout", "-q", commits[-1])
    night = command(clone, *update, *chosen, *store, "--baseline")
    assert night.returncode == 1, night.stdout + night.stderr
    assert f"{CASE} is " in night.stdout
    (line,) = [line for line in night.stdout.splitlines() if line.startswith("bisect: ")]
    (clone / "bench_toy.py").unlink()
    # what is typed calls the python of the shell
    shell = {**os.environ, "PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1"}
    shell["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{shell['PATH']}"
    typed = line.removeprefix("bisect: ")
    found = subprocess.run(typed, shell=True, cwd=clone, env=shell, capture_output=True, text=True)
    assert f"{commits[3]} is the first bad commit" in found.stdout, found.stdout + found.stderr

    # a baseline that the good commit does not meet either is no commit's fault, and none is blamed
    (kept,) = (clone / "outputs" / "bisect").rglob("simple_average.json")
    content = json.loads(kept.read_text())
    for outcome in content["outcomes"].values():
        outcome["predictions"] = "of another machine"
    kept.write_text(json.dumps(content))
    blamed = subprocess.run(typed, shell=True, cwd=clone, env=shell, capture_output=True, text=True)
    assert "first bad commit" not in blamed.stdout
