"""What a task pool is hashed by, where no manifest describes its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusion_bench.registry import load_taskpool
from fusion_bench.taskpools.text import TextTaskConfig
from fusion_bench.taskpools.text.examples import TextExamples

KINDS = ("zero_shot_classification", "text_classification")
SHARES = {"validation": 0.1, "adaptation": 0.1}


def write(folder: Path, *texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        pq.write_table(pa.table({"text": list(texts), "label": [0] * len(texts)}), folder / f"{split}.parquet")


def content_hash(kind: str, data: Path | str, **more: Any) -> str:
    columns = {"columns": ["text"]} if kind.startswith("text") else {}
    task = {"data": str(data), "classes": ["no", "yes"], **columns, **more}
    return load_taskpool({"type": kind, "name": "mine", "tasks": {"t": task}}).content_hash()


@pytest.mark.parametrize("kind", KINDS)
def test_other_bytes_are_another_pool(kind: str, tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    first = content_hash(kind, tmp_path)
    assert content_hash(kind, tmp_path) == first
    write(tmp_path, "a", "c")
    assert content_hash(kind, tmp_path) != first


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_the_hub_counts_once_it_is_here(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_BENCH_MODELS", str(tmp_path))
    absent = content_hash(kind, "owner/words")
    assert content_hash(kind, "owner/words") == absent
    found = []
    for text in "bc":
        write(tmp_path / "owner" / "words", "a", text)
        found.append(content_hash(kind, "owner/words"))
    assert len({absent, *found}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_what_is_held_out_counts(kind: str, tmp_path: Path) -> None:
    write(tmp_path, *"abcdefghij" * 2)
    turned = dict(reversed(SHARES.items()))
    assert content_hash(kind, tmp_path, held_out=SHARES) != content_hash(kind, tmp_path, held_out=turned)


class _Words(TextExamples):
    encoded = logits = None  # type: ignore[assignment]


def test_the_order_of_what_is_held_out_is_in_the_hash_of_texts(tmp_path: Path) -> None:
    write(tmp_path, *"abcdefghij" * 2)
    words = [
        _Words("t", TextTaskConfig(data=str(tmp_path), columns=("text",), classes=("a", "b"), held_out=held), batch=2)
        for held in (SHARES, dict(reversed(SHARES.items())))
    ]
    assert words[0].texts("validation") != words[1].texts("validation")
    assert words[0].data_hash("validation") != words[1].data_hash("validation")
