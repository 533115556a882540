"""Tiny language models with an adapter on them, as peft saves both, and a comparison with what peft merges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.weights.checkpoint import Checkpoint
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.spans import Span


def llama(tied: bool = False) -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=48,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    return transformers.LlamaForCausalLM(config)


def save(model: Any, folder: Path, **options: Any) -> Any:
    """Save a model, a random adapter on it, and the loaded model with the adapter, as peft runs it."""
    import peft

    model.save_pretrained(folder / "base")
    adapted = peft.get_peft_model(model, peft.LoraConfig(**{"r": 4, "lora_alpha": 6, **options}))
    torch.manual_seed(1)
    for _, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    adapted.save_pretrained(folder / "a")
    return loaded(model, folder)


def loaded(model: Any, folder: Path) -> Any:
    import peft

    base = type(model).from_pretrained(folder / "base") if hasattr(model, "config") else model
    return peft.PeftModel.from_pretrained(base, folder / "a")


def opened(folder: Path) -> tuple[Checkpoint, Checkpoint]:
    base = open_checkpoint(folder / "base")
    return base, open_checkpoint(folder / "a", base=base, label="mine")


def check(found: Checkpoint, merged: Mapping[str, Tensor], base: Checkpoint) -> None:
    """Equal to peft's merged model, whole and in part; factors, where there are some, are the difference."""
    assert set(found) == set(base)
    for name in base:
        torch.testing.assert_close(found[name].float(), merged[name], rtol=1e-5, atol=1e-5)
        whole = found[name].reshape(-1)
        assert torch.equal(found.gather([Span(name, 3, 17)]), whole[3:17])
        factors = found.factors(name)
        if factors is not None:
            difference = merged[name].double() - base[name].double()
            torch.testing.assert_close(factors.left @ factors.right, difference, rtol=1e-4, atol=1e-4)


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
