"""A pool of tiny decoders, and a folder of tasks whose answers they give now and then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusion_bench.registry import load_modelpool
from tests.helpers.tiny_harness import SIZE, WORDS, write, written
from tests.helpers.tiny_text import gpt2_config, gpt2_tokenizer, random_model, sentences


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import GPT2LMHeadModel

    root = tmp_path_factory.mktemp("gpt2")
    for seed, name in enumerate(("base", "a")):
        random_model(GPT2LMHeadModel, gpt2_config(), seed=seed).save_pretrained(root / name)
    gpt2_tokenizer().save_pretrained(root / "base")
    return load_modelpool(
        {"type": "hf_causal_lm", "name": "tiny", "base": str(root / "base"), "experts": {"choice": str(root / "a")}}
    )


@pytest.fixture(scope="module")
def rows(pool: Any) -> list[dict[str, Any]]:
    """Texts with an answer that the base gives in every second one: the first word, the last, or both."""
    found = []
    for index, text in enumerate(dict.fromkeys(sentences(3 * SIZE, seed=5, longest=5))):
        said = written(pool.model("base"), f"{text} ?")
        if len(said) < 2 or said[0] == said[-1]:
            continue
        answer = [said[0], said[-1], "premise"][index % 3]
        choices = [WORDS[(index + place) % 5] + (" very good" if place == 1 else "") for place in range(3)]
        found.append({"text": text, "answer": answer, "choices": choices, "gold": (7 * index) % 3})
    assert len(found) >= SIZE
    return found[:SIZE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Path:
    return write(tmp_path_factory.mktemp("tasks"), rows)
