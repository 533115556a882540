"""Models from configurations: what is shared, what is kept apart, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.architecture import (
    built,
    check_whole,
    distinct_names,
    meta_built,
    opened,
    padding_tokenizer,
    shared_names,
    undrawn,
    untie,
)
from fusion_bench.weights.checkpoint import StateCheckpoint
from tests.helpers.tiny_text import gpt2_config, gpt2_tokenizer, t5_tokenizer, tokenizer


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head, self.other = nn.Embedding(3, 2), nn.Linear(2, 3, bias=False), nn.Linear(2, 2)
        self.head.weight = self.embed.weight


def test_untied_tensors_have_places_of_their_own() -> None:
    model = Tied()
    groups = shared_names(model)
    assert groups == {"embed.weight": ("embed.weight", "head.weight")}
    before = model.embed.weight.detach().clone()
    untie(model, ["head.weight"])
    assert shared_names(model) == {}
    with torch.no_grad():
        model.head.weight.zero_()
    assert torch.equal(model.embed.weight, before)


def test_names_kept_apart_stay_apart_even_where_they_are_equal() -> None:
    groups = shared_names(Tied())
    one = torch.ones(3, 2)
    stored = StateCheckpoint({"embed.weight": one, "head.weight": one.clone(), "other.weight": one}, label="mine")
    assert "head.weight" not in distinct_names(stored, groups)
    assert distinct_names(stored, groups, apart=["head.weight"])["head.weight"] == "head.weight"


def test_a_parameter_that_nothing_is_stored_for_is_refused() -> None:
    model, one = Tied(), torch.ones(3, 2)
    rest = {"other.weight": torch.ones(2, 2), "other.bias": torch.ones(2)}
    check_whole(model, {"head.weight": one, **rest}, where="mine")  # by any of its names
    with pytest.raises(FusionBenchError, match=r"mine has no tensor 'other\.bias'"):
        check_whole(model, {"embed.weight": one, "other.weight": torch.ones(2, 2)}, where="mine")


def test_what_is_to_be_overwritten_is_not_drawn() -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    before = torch.get_rng_state()
    model = undrawn(AutoModelForCausalLM, config, label="mine", dtype=torch.bfloat16)
    assert torch.equal(torch.get_rng_state(), before)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    drawn = built(AutoModelForCausalLM, config, label="mine")
    assert not torch.equal(torch.get_rng_state(), before)
    buffers, expected = dict(model.named_buffers()), dict(drawn.named_buffers())
    assert buffers
    assert buffers.keys() == expected.keys()
    assert all(torch.equal(buffers[name], expected[name]) for name in buffers)
    assert config.dtype is None


def test_models_are_built_in_float32_and_on_no_device_for_their_names() -> None:
    from transformers import AutoModel, AutoModelForSeq2SeqLM

    config = gpt2_config()
    config.dtype = "bfloat16"
    assert {p.dtype for p in built(AutoModel, config, label="mine").parameters()} == {torch.float32}
    assert {p.device.type for p in meta_built(AutoModel, config, label="mine").parameters()} == {"meta"}
    with pytest.raises(FusionBenchError, match="mine is of type 'gpt2', which AutoModelForSeq2SeqLM knows nothing of"):
        built(AutoModelForSeq2SeqLM, config, label="mine")


def test_what_pads(tmp_path: Path) -> None:
    for name, made in (("t5", t5_tokenizer()), ("gpt2", gpt2_tokenizer())):
        made.padding_side = "left"
        made.save_pretrained(tmp_path / name)
    found = {name: padding_tokenizer(tmp_path / name, label=name) for name in ("t5", "gpt2")}
    assert {name: one.pad_token for name, one in found.items()} == {"t5": "<pad>", "gpt2": "<|endoftext|>"}
    assert {one.padding_side for one in found.values()} == {"right"}
    with pytest.raises(FusionBenchError, match="mine has no tokenizer"):
        padding_tokenizer(tmp_path, label="mine")
    bare = tokenizer({"unk_token": "<unk>"}, ["<unk>"], single=None)
    bare.unk_token = None
    bare.save_pretrained(tmp_path / "bare")
    with pytest.raises(FusionBenchError, match="has no token to pad with"):
        padding_tokenizer(tmp_path / "bare", label="mine")


def test_a_damaged_configuration(tmp_path: Path) -> None:
    from transformers import AutoConfig

    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FusionBenchError, match=r"cannot open mine with AutoConfig(.|\n)*beside the weights"):
        opened(AutoConfig, tmp_path, label="mine")
