"""A tokenizer that two threads use: batches are made by one while the other makes a text head."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from fusion_bench.registry import load_modelpool


@pytest.fixture
def encoder(tmp_path: Path):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**tower, vocab_size=len(words), max_position_embeddings=64)
    for name in ("base", "a"):
        BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / name)
        BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / name)
    places = {"base": str(tmp_path / "base"), "experts": {"a": str(tmp_path / "a")}}
    return load_modelpool({"type": "hf_text_encoder", "name": "tiny", **places})


def test_one_thread_at_a_time_has_the_tokenizer(encoder) -> None:
    """Padding and truncation are set on the tokenizer itself: two threads at once fail, or pad as the other wanted."""
    plain, inside, most = encoder._tokenizer, [], []

    def watched(texts: list[str], **options: object) -> object:
        inside.append(True)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()
        return plain(texts, **options)

    encoder._tokenizer = watched
    texts = [" ".join("abcdefghij"[: 1 + i % 10]) for i in range(60)]
    expected = [plain([text], return_tensors="pt")["input_ids"] for text in texts]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda text: encoder.tokens([text])["input_ids"], texts))
    assert max(most) == 1
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_text_hash_knows_where_texts_are_cut(encoder, tmp_path: Path) -> None:
    places = {"base": str(tmp_path / "base"), "experts": {"a": str(tmp_path / "a")}}
    shorter = load_modelpool({"type": "hf_text_encoder", "name": "tiny", **places, "max_tokens": 8})
    assert encoder.text_hash() != shorter.text_hash()
    assert encoder.content_hash() == shorter.content_hash()
