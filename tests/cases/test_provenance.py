"""Where a number comes from: the user's own code is named by its digest and the commit of its own repository."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_bench.algorithms.ties import Ties
from fusion_bench.cases import Case, Session, run_case
from fusion_bench.cases.fingerprint import plugin_hash
from fusion_bench.cases.provenance import plugin_sources
from fusion_bench.regression import Settings, from_result, judge, message

MINE = """
from pydantic.dataclasses import dataclass

from fusion_bench.algorithms.base import TaskVectorAlgorithm


@dataclass(frozen=True, kw_only=True)
class Mine(TaskVectorAlgorithm):
    scaling: float = 0.3

    def prepare(self, scan):
        return lambda piece: FACTOR * sum(piece.deltas())


FACTOR = 1.0
"""


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    found = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout.strip()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "theirs" / "fb_mine.py"
    path.parent.mkdir()
    path.write_text(MINE)
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.delitem(sys.modules, "fb_mine", raising=False)
    return path


def test_the_houses_own_classes_are_none_of_the_users() -> None:
    assert plugin_sources([Ties, Case]) == {}


def test_a_file_is_named_with_its_digest_and_the_commit_of_its_repository(plugin: Path) -> None:
    mine = importlib.import_module("fb_mine").Mine
    digest = plugin_hash([mine])[:12]
    assert plugin_sources([mine, Ties]) == {"fb_mine": digest}
    git(plugin.parent, "init", "-q", "-b", "main")
    git(plugin.parent, "add", "fb_mine.py")
    git(plugin.parent, "commit", "-q", "-m", "mine")
    commit = git(plugin.parent, "rev-parse", "HEAD")[:12]
    (plugin.parent / "other.txt").write_text("another file of theirs")
    assert plugin_sources([mine]) == {"fb_mine": f"{digest}, commit {commit}"}
    plugin.write_text(MINE + "\n")
    found = plugin_sources([mine])["fb_mine"]
    assert found.endswith(f", commit {commit}+")
    assert not found.startswith(digest)
    sys.modules.pop("fb_mine")


def test_what_changed_in_the_users_code_is_said_by_the_gate(plugin: Path, toy_config: Path, tmp_path: Path) -> None:
    (tmp_path / "conf" / "algorithm").mkdir(parents=True)
    for path in toy_config.rglob("*.yaml"):
        copy = tmp_path / "conf" / path.relative_to(toy_config)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text())
    (tmp_path / "conf" / "algorithm" / "fb_mine.yaml").write_text("type: fb_mine\nkind: merging\nscaling: 0.3\n")
    results = []
    for text in (MINE, MINE.replace("FACTOR = 1.0", "FACTOR = -4.0")):
        plugin.write_text(text)
        sys.modules.pop("fb_mine", None)
        with Session(config_dir=tmp_path / "conf", plugins=[str(plugin)], tracking_uri="") as session:
            results.append(json.loads(json.dumps(run_case(Case("fb_mine", "toy", "toy2"), session).to_dict())))
    sys.modules.pop("fb_mine")
    assert json.loads(results[0]["tags"]["plugins"]) == results[0]["plugins"] != results[1]["plugins"]
    old, new = (from_result(result, date="2026-11-25") for result in results)
    verdict = judge(old, new, Settings())
    assert verdict.fails
    assert verdict.diagnosis == "your own code: fb_mine: base model and experts score as before"
    assert f"  your own code fb_mine: {old.plugins['fb_mine']} → {new.plugins['fb_mine']}" in message(verdict)
