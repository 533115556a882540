"""What a fingerprint depends on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from fusion_bench.cases.fingerprint import code_hash, fingerprint, plugin_hash


def test_configuration_and_content_change_it_and_order_of_keys_does_not() -> None:
    first = fingerprint({"a": {"x": 1, "y": 2}}, "models", "data")
    assert first == fingerprint({"a": {"y": 2, "x": 1}}, "models", "data")
    others = [({"a": {"x": 1, "y": 3}}, "models", "data"), ({"a": {"x": 1, "y": 2}}, "data", "models")]
    assert len({first, *(fingerprint(*other) for other in others)}) == 3


def test_code_that_computes_counts_and_code_that_shows_does_not(tmp_path: Path) -> None:
    for part in ("algorithms", "report"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "one.py").write_text("a = 1\n")
    first = code_hash(tmp_path)
    (tmp_path / "report" / "one.py").write_text("a = 2\n")
    assert code_hash(tmp_path) == first
    (tmp_path / "algorithms" / "one.py").write_text("a = 2\n")
    assert code_hash(tmp_path) != first


def test_a_plugins_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fb_test_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("factor = 1\n")
    (package / "mine.py").write_text("class Mine: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = importlib.import_module("fb_test_plugin.mine").Mine
    first = plugin_hash([mine])
    (package / "helper.py").write_text("factor = 2\n")
    assert first != plugin_hash([mine]) != ""
    for name in ("fb_test_plugin", "fb_test_plugin.mine"):
        monkeypatch.delitem(sys.modules, name)
