"""`.ci/nightly` and the workflow that calls it, with commands that only write down what they were asked."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "nightly"
WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"

FAKE = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$ASKED"
while [ $# -gt 0 ]; do
  case "$1" in --markdown | --junitxml | --out) echo "# from $1" > "$2"; shift ;; esac
  shift
done
exit "${STATUS:-0}"
"""


@pytest.fixture
def night(tmp_path: Path):
    """Runs the script in an environment of fakes; gives its status and what the fakes were asked."""
    commands = tmp_path / "venv" / "bin"
    commands.mkdir(parents=True)
    for name in ("pytest", "fusion_bench", "pip"):
        (commands / name).write_text(FAKE)
        (commands / name).chmod(0o755)

    def run(*words: str, status: int = 0) -> tuple[int, list[str], Path]:
        environment = {
            **os.environ,
            "NIGHTLY_VENV": str(tmp_path / "venv"),
            "ASKED": str(tmp_path / "asked"),
            "STATUS": str(status),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "job.md"),
        }
        done = subprocess.run([SCRIPT, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
        return done.returncode, asked, tmp_path

    return run


def test_a_night_gates_reports_and_leaves_a_summary(night) -> None:
    status, asked, folder = night("pinned", "night", "-k", "ties")
    assert status == 0
    bench, report, freeze = asked
    assert bench.startswith("pytest bench --baseline --tracking-uri sqlite:///")
    assert bench.endswith("-k ties")
    assert report.startswith("fusion_bench report --tracking-uri sqlite:///")
    assert freeze == "pip freeze --exclude-editable"
    assert (folder / "job.md").read_text() == "# from --markdown\n"


def test_a_night_that_fails_fails_and_still_reports(night) -> None:
    status, asked, folder = night("newest", "night", status=1)
    assert status == 1
    assert [line.split()[0] for line in asked] == ["pytest", "fusion_bench", "pip"]
    assert (folder / "job.md").exists()


def test_what_another_night_left_does_not_pass_for_this_one(night, tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "summary.md").write_text("All 16 cases hold")
    (tmp_path / "venv" / "bin" / "pytest").write_text("#!/bin/sh\nexit 4\n")
    status, _, folder = night("newest", "night")
    assert status == 4
    assert (folder / "job.md").read_text() == "No summary: pytest ended with 4 before it began.\n"


def test_a_folder_that_cannot_be_made_ends_it(night, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, asked, _ = night("pinned", "file/night")
    assert (status, asked) == (2, [])


@pytest.mark.parametrize("words", [(), ("pinned",), ("other", "x")])
def test_what_is_not_understood_is_answered_with_the_use(night, words) -> None:
    status, asked, _ = night(*words)
    assert (status, asked) == (2, [])
    use = subprocess.run([SCRIPT, *words], capture_output=True, text=True).stderr
    assert [kind for kind in ("pinned", "newest", "pools") if f".ci/nightly {kind} FOLDER" in use] == [
        "pinned",
        "newest",
        "pools",
    ]
    assert "NIGHTLY_GATE" in use


def test_a_night_of_pools_asks_the_hub_and_nothing_else(night) -> None:
    status, asked, folder = night("pools", "night")
    assert (status, asked) == (0, ["fusion_bench pools check --all --format json"])
    assert (folder / "job.md").read_text() == "## Pools\n\nAll as it should be.\n"


def test_what_the_hub_lacks_fails_the_night_and_is_told(night, tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin" / "fusion_bench").write_text("#!/bin/sh\necho '[]'\necho 'a/b is gone' >&2\nexit 1\n")
    status, _, folder = night("pools", "night")
    assert status == 1
    assert (folder / "night" / "pools.json").read_text() == "[]\n"
    assert (folder / "job.md").read_text() == "## Pools\n\n- a/b is gone\n"


def test_a_check_that_ends_without_a_word_is_not_called_good(night) -> None:
    status, _, folder = night("pools", "night", status=3)
    assert status == 3
    assert "ended with 3" in (folder / "job.md").read_text()


def test_the_workflow_calls_what_is_there() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["jobs"]["bench"]["strategy"]["matrix"]["versions"] == ["pinned", "newest"]
    lines = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    calls = [line.strip() for run in lines for line in run.splitlines() if ".ci/" in line]
    assert len(calls) == 3
    assert all(re.match(r"\.ci/nightly (pinned|pools|\$\{\{ matrix\.versions \}\}) ", call) for call in calls)
    assert any(call.startswith(".ci/nightly pools ") for call in calls)
    assert os.access(SCRIPT, os.X_OK)


def test_constraints_are_versions_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.+!]*", line) for line in pinned)
    assert {line.partition("==")[0] for line in pinned} >= {"torch", "mlflow", "numpy", "transformers"}
