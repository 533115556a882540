"""Altered, truncated and missing files are named before anything is computed from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fusion_bench.datasets import Manifest
from fusion_bench.errors import FusionBenchError


@pytest.fixture
def pool(toy_assets: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_assets / "models_toy", tmp_path / "pool"))


def test_whole_files_pass(pool: Path) -> None:
    manifest = Manifest.read(pool)
    assert all(manifest.path(name).is_file() for name in manifest.files)


def test_one_altered_byte_is_found(pool: Path) -> None:
    path = pool / "models" / "circles.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FusionBenchError, match=r"circles\.safetensors was altered"):
        Manifest.read(pool).path("models/circles.safetensors")


def test_a_truncated_file_is_named_with_both_sizes(pool: Path) -> None:
    path = pool / "models" / "base.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FusionBenchError, match=f"{size - 10:,} bytes, not {size:,}"):
        Manifest.read(pool).path("models/base.safetensors")


def test_a_missing_file_and_an_unknown_name(pool: Path) -> None:
    (pool / "vocabulary.txt").unlink()
    with pytest.raises(FusionBenchError, match="cannot read"):
        Manifest.read(pool).path("vocabulary.txt")
    with pytest.raises(FusionBenchError, match=r"nearest: .*vocabulary\.txt"):
        Manifest.read(pool).path("vocabulry.txt")


def test_no_manifest_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match="no manifest"):
        Manifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(FusionBenchError, match="damaged"):
        Manifest.read(tmp_path)


def test_another_schema_is_refused(pool: Path) -> None:
    path = pool / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(FusionBenchError, match="schema 2"):
        Manifest.read(pool)
