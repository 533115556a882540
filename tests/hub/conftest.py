"""A hub of one's own for every test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.fake_hub import FakeHub, Repository, safetensors, serving, use

BASE = safetensors({"vision_model.w": (64, 64), "text_model.w": (8, 8)})
TOWER = safetensors({"vision_model.w": (64, 64)}, fill=1)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Two models and a data set, asked by nobody yet; the cache is empty."""
    fake = FakeHub()
    fake.models["you/base"] = Repository(
        {"config.json": b"{}", "model.safetensors": BASE, "pytorch_model.bin": b"PK", "README.md": b"# base"},
        card={"license": "mit"},
    )
    fake.models["you/expert"] = Repository({"config.json": b'{"a": 1}', "model.safetensors": TOWER})
    fake.datasets["you/digits"] = Repository(
        {
            "README.md": b"---\nconfigs:\n- config_name: small\n  data_files:\n  - split: test\n    path: s/t-*\n---\n",
            "s/t-00000-of-00002.parquet": b"PAR1 small zero",
            "s/t-00001-of-00002.parquet": b"PAR1 small one",
            "large/train-00000-of-00001.parquet": b"PAR1 large",
            "script.py": b"raise SystemExit",
        },
        card={"license": "other", "license_name": "own", "configs": [
            {"config_name": "small", "data_files": [{"split": "test", "path": "s/t-*"}]},
            {"config_name": "large", "data_files": [{"split": "train", "path": "large/train-*"}]},
        ]},
    )  # fmt: skip
    with serving(fake):
        use(fake.url, tmp_path / "home", monkeypatch)
        yield fake
