"""Pools of tiny decoders with random weights, in exactly the hub's formats, and how transformers reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from fusion_bench.registry import load_modelpool
from tests.helpers.tiny_text import gpt2_config, gpt2_tokenizer, random_model

TEXTS = ["the cat sat on a mat", "it ran", "is it not a very good red dog ?"]
NAMES = ("base", "a", "b")


def decoder_config(kind: str, **changes: Any) -> Any:
    import transformers

    fields = {
        "vocab_size": len(gpt2_tokenizer()), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 24, "max_position_embeddings": 64, "bos_token_id": 0,
        "eos_token_id": 0, "pad_token_id": 0, **({"head_dim": 8, "sliding_window": 4} if kind == "Gemma2" else {}),
    }  # fmt: skip
    return getattr(transformers, f"{kind}Config")(**{**fields, **changes})


def write(root: Path, kind: str, *, half: bool = False, shards: str = "1GB", **changes: Any) -> Path:
    """A base with its tokenizer, and two experts."""
    import transformers

    one = gpt2_config(**changes) if kind == "GPT2" else decoder_config(kind, **changes)
    made = transformers.GPT2LMHeadModel if kind == "GPT2" else getattr(transformers, f"{kind}ForCausalLM")
    for seed, name in enumerate(NAMES):
        model = random_model(made, one, seed=seed)
        (model.bfloat16() if half else model).save_pretrained(root / name, max_shard_size=shards)
    gpt2_tokenizer().save_pretrained(root / "base")
    return root


def pool(folder: Path, **changes: Any) -> Any:
    fields = {"base": str(folder / "base"), "experts": {name: str(folder / name) for name in NAMES[1:]}}
    experts = {**fields["experts"], **changes.pop("experts", {})}
    return load_modelpool({"type": "hf_causal_lm", "name": "tiny", **fields, "experts": experts, **changes})


def theirs(folder: Path) -> Any:
    """As transformers reads it, in the type that it is stored in."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, torch_dtype="auto").eval()


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def scores(model: Any, pool_: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(**pool_.tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
