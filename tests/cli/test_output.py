"""Reports on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_bench.cli import output
from fusion_bench.errors import FusionBenchError


def test_long_ids_stay_apart_and_within_what_a_file_system_allows() -> None:
    one, two = ("ties[" + "weights=[0.125,0.25]," * 40 + end for end in "ab")
    assert output.report_path(one) != output.report_path(two)
    assert len(output.report_path(one).name) < 200


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    output.save({"a": 1}, path)
    with pytest.raises(TypeError):
        output.save({"a": object()}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(FusionBenchError, match="cannot write the report"):
        output.save({}, tmp_path / "folder.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.json", "report.json"]
