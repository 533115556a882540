"""Decoder-only language models in the hub's formats, against transformers and peft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.text_models import CausalPool
from fusion_bench.registry import load_algorithm, load_modelpool, names, read_config
from tests.helpers.tiny_causal import NAMES, TEXTS, pool, scores, stored, theirs, write
from tests.helpers.tiny_text import gpt2_tokenizer

KINDS: dict[str, dict[str, Any]] = {
    "llama": {"kind": "Llama", "tie_word_embeddings": False},
    "llama_tied": {"kind": "Llama", "tie_word_embeddings": True, "half": True, "shards": "4KB"},
    "gemma2": {"kind": "Gemma2", "half": True},
    "qwen2": {"kind": "Qwen2", "tie_word_embeddings": True},
    "qwen2_sharded": {"kind": "Qwen2", "tie_word_embeddings": False, "half": True, "shards": "4KB"},
    "mistral": {"kind": "Mistral", "tie_word_embeddings": False, "half": True},
    "gpt2": {"kind": "GPT2"},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp(name), **fields) for name, fields in KINDS.items()}


def tied(kind: str) -> bool:
    return KINDS[kind].get("tie_word_embeddings", True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_model_is_transformers_own(kind: str, folders: dict[str, Path]) -> None:
    root = folders[kind]
    before = torch.get_rng_state()
    mine = pool(root)
    assert isinstance(mine, CausalPool)
    found = {name: scores(mine.model(name), mine) for name in NAMES}
    assert torch.equal(torch.get_rng_state(), before)  # nothing was drawn
    for name, got in found.items():
        own, reference = mine.model(name), theirs(root / name)
        assert torch.equal(got, scores(reference, mine)), name
        half = torch.bfloat16 if KINDS[kind].get("half") else torch.float32
        assert {p.dtype for p in own.parameters()} == {got.dtype} == {half}
        assert own.config.dtype == reference.config.dtype == half
        expected = dict(reference.named_buffers())
        assert {n: (b.dtype, b.tolist()) for n, b in own.named_buffers()} == {
            n: (b.dtype, b.tolist()) for n, b in expected.items()
        }
        assert (own.get_output_embeddings().weight is own.get_input_embeddings().weight) == tied(kind)
    assert not torch.allclose(found["base"], found["a"], atol=1e-2)
    assert ("lm_head.weight" in mine.state_dict("base")) != tied(kind)
    assert len(list((root / "a").glob("*.safetensors"))) > ("shards" in KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_merge_is_saved_as_transformers_reads_it(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    root = folders[kind]
    mine = pool(root)
    merged = load_algorithm("simple_average").run(mine)
    a, b, state = stored(root / "a"), stored(root / "b"), merged.state_dict()
    for name, tensor in a.items():
        expected = ((tensor.double() + b[name].double()) / 2).to(tensor.dtype)
        assert state[name].dtype == tensor.dtype, name
        assert torch.equal(state[name], expected), name
    assert len(a) == len(state) - tied(kind)
    mine.save(merged, tmp_path)
    assert torch.equal(scores(mine.load_saved(tmp_path), mine), scores(merged, mine))
    again = theirs(tmp_path)
    assert torch.equal(scores(again, mine), scores(merged, mine))
    assert again.config.dtype == merged.config.dtype == next(again.parameters()).dtype
    ids = mine.tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(
        merged.generate(**ids, max_new_tokens=3, do_sample=False),
        again.generate(**ids, max_new_tokens=3, do_sample=False),
    )


def test_as_gpt2_was_published(folders: dict[str, Path], tmp_path: Path) -> None:
    """Without the name of the model around it, with masks as tensors; an adapter names what is around."""
    peft = pytest.importorskip("peft")

    for name in NAMES:
        tensors = {key.removeprefix("transformer."): t for key, t in stored(folders["gpt2"] / name).items()}
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        for path in (folders["gpt2"] / name).glob("*.json"):
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    mine, plain = pool(tmp_path), pool(folders["gpt2"])
    for name in NAMES:
        assert sorted(mine.state_dict(name)) == sorted(plain.state_dict(name))
        assert torch.equal(scores(mine.model(name), mine), scores(plain.model(name), mine))
    settings = peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    merged = adapted(theirs(tmp_path / "base"), settings, tmp_path / "c")
    mine = pool(tmp_path, experts={"c": str(tmp_path / "c")})
    assert torch.allclose(scores(mine.model("c"), mine), scores(merged, mine), atol=1e-4)
    assert not torch.allclose(scores(mine.model("c"), mine), scores(mine.model("base"), mine), atol=1e-2)


def adapted(model: Any, settings: Any, folder: Path) -> Any:
    """An adapter that does something, written; and the model with it, merged by peft."""
    import peft

    around = peft.get_peft_model(model, settings)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in around.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=0.2, generator=generator)
    around.save_pretrained(folder)
    return around.merge_and_unload().eval()


@pytest.mark.parametrize("kind", ["llama", "gemma2", "qwen2"])
def test_adapters_are_merged_as_peft_does(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")

    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    merged = adapted(theirs(folders[kind] / "base").float(), settings, tmp_path)
    mine = pool(folders[kind], experts={"c": str(tmp_path)})
    base, own = mine.state_dict("base"), merged.state_dict()
    changed = [k for k, t in mine.state_dict("c").items() if not torch.equal(t.float(), base[k].float())]
    assert len(changed) == 4
    loss = 1e-6 if base[changed[0]].dtype == torch.float32 else 2**-8
    for name in changed:
        assert torch.allclose(mine.state_dict("c")[name].float(), own[name], rtol=loss, atol=1e-6), name
    assert mine.model("c").config.to_dict() == mine.model("base").config.to_dict()
    assert scores(load_algorithm("task_arithmetic").run(mine), mine).isfinite().all()
    stranger = json.loads((tmp_path / "adapter_config.json").read_text())
    tensors = {k.replace("self_attn.q_proj", "attention.query"): t for k, t in stored(tmp_path).items()}
    tensors = {k.replace("mlp.down_proj", "feed.out"): t for k, t in tensors.items()}
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "adapter_config.json").write_text(json.dumps(stranger))
    save_file(tensors, tmp_path / "none" / "adapter_model.safetensors")
    with pytest.raises(FusionBenchError, match=r"none \(c\).*(attention\.query|feed\.out)"):
        pool(folders[kind], experts={"c": str(tmp_path / "none")}).state_dict("c")


def test_the_base_s_tokenizer_and_generation(folders: dict[str, Path], tmp_path: Path) -> None:
    write(tmp_path, "Llama")
    generation = {"bos_token_id": 0, "eos_token_id": [0, 5], "max_new_tokens": 7}
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps(generation))
    mine, own = pool(tmp_path), gpt2_tokenizer()
    mine.content_hash()
    ids = own("it ran")["input_ids"]
    found = mine.tokenizer(["it ran", "the cat sat on"], padding=True)
    assert found["input_ids"][0] == [own.eos_token_id] * 2 + ids
    assert found["attention_mask"][0] == [0, 0, 1, 1]
    assert mine.tokenizer is mine.tokenizer
    own.chat_template = "{{ messages[0]['content'] }} ."
    own.save_pretrained(tmp_path / "base")
    other = pool(tmp_path)
    assert other.content_hash() != mine.content_hash()
    assert other.tokenizer.apply_chat_template([{"role": "user", "content": "it"}], tokenize=False) == "it ."
    model = mine.model("a")
    assert model.generation_config.eos_token_id == [0, 5]
    assert model.generation_config.max_new_tokens == 7
    mine.save(model, tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text()) == generation


PRESETS = [name for name in names("modelpool") if read_config("modelpool", name)["type"] == "hf_causal_lm"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_such_pools(name: str) -> None:
    mine = load_modelpool(name)
    assert isinstance(mine, CausalPool)
    assert len(mine.expert_names) > 1
    for taskpool in read_config("modelpool", name)["taskpools"]:
        assert taskpool in names("taskpool")
