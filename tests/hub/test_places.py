"""Where sources are found, without a network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fusion_bench.hub import Source, local, missing
from fusion_bench.hub.places import cache_folder, repository

MODEL = Source("you/base")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "FUSION_BENCH_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return tmp_path


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x")
    return folder


def cached(commit: str, *, ref: str | None = None) -> Path:
    folder = model(repository(MODEL) / "snapshots" / commit)
    if ref:
        (repository(MODEL) / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (repository(MODEL) / "refs" / ref).write_text(commit)
    return folder


def test_of_the_cache_the_revision_counts() -> None:
    old, new = cached("0" * 40), cached("1" * 40, ref="main")
    converted = cached("2" * 40, ref="refs/convert/parquet")
    assert local(MODEL) == new
    assert local(Source("you/base", "0" * 40)) == old
    assert local(Source("you/base", "refs/convert/parquet")) == converted
    assert local(Source("you/base", "v2")) is None
    assert missing(Source("you/base", "v2")) == "it is not in the cache at revision v2"


def test_the_cache_is_where_huggingface_hub_has_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == home / "home/hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "other"))
    assert cache_folder() == home / "other"
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert cache_folder() == home / "xdg/huggingface/hub"


def test_a_folder_of_ones_own_goes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached("1" * 40, ref="main")
    monkeypatch.setenv("FUSION_BENCH_MODELS", os.pathsep.join([str(home / "a"), str(home / "b")]))
    assert local(MODEL) != home / "b/base"
    short = model(home / "b" / "base")
    assert local(MODEL) == short
    long = model(home / "a" / "you" / "base")
    assert local(MODEL) == long
    assert local(Source("you/base", "v2")) == long
    (long / "model.safetensors").unlink()
    (long / "config.json").write_text("{}")
    assert local(MODEL) is None
    assert missing(MODEL) == f"{long}: it has no weights"


def test_paths_and_packages(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local(Source(str(home))) == home
    assert missing(Source(str(home / "gone"))) == f"no such folder: {home / 'gone'}"
    assert local(Source("package://mini8")) is not None
    assert missing(Source("package://mini9")).startswith("no such folder: ")
    assert missing(Source("python://no_such_thing/x")) == "the Python package no_such_thing is not installed"
    package = home / "site" / "a_models_package"
    (package / "data" / "minilm").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(home / "site"))
    assert local(Source("python://a_models_package/data/minilm")) == package / "data/minilm"
    assert local(Source("python://a_models_package.data/minilm")) == package / "data/minilm"
    assert missing(Source("python://a_models_package/data/gone")).endswith("gone")
    assert "a_models_package" not in sys.modules


def test_a_subfolder() -> None:
    folder = cached("1" * 40, ref="main")
    model(folder / "inner")
    assert local(Source("you/base", subfolder="inner")) == folder / "inner"
    assert missing(Source("you/base", subfolder="outer")) == "half of it is in the cache: it has no folder outer"


def test_files_whose_sums_are_stated_must_be_there() -> None:
    folder = cached("1" * 40, ref="main")
    stated = Source("you/base", sha256={"model.safetensors": "0" * 64, "tokenizer.model": "1" * 64})
    assert missing(stated) == "half of it is in the cache: tokenizer.model is not there"
    (folder / "tokenizer.model").write_bytes(b"x")
    assert local(stated) == folder
