"""Room on disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from fusion_bench.disk import check_room
from fusion_bench.errors import FusionBenchError


def test_no_room_is_told_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    check_room(tmp_path / "not" / "there" / "yet", 999_999, what="a fused model", hint="make room")
    with pytest.raises(FusionBenchError, match=r"a fused model takes 350 MB and .* has 1\.0 MB free"):
        check_room(tmp_path / "not" / "there" / "yet", 350_000_000, what="a fused model", hint="make room")
