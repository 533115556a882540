"""Sequence classifiers in the hub's formats, against transformers' own forward pass."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools import restricted
from fusion_bench.modelpools.text_models import ClassifierPool
from fusion_bench.registry import load_algorithm, load_modelpool
from tests.helpers.tiny_text import (
    gpt2_config,
    gpt2_tokenizer,
    random_model,
    roberta_config,
    roberta_tokenizer,
)

ONE = ["the cat sat on a mat", "it ran", "is it not a very good red dog ?"]
TWO = ["good", "a very very bad cat", "it sat"]
CLASSES = {"a": 2, "b": 3}


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model without a token to pad with, and classifiers of two and three classes."""
    from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel

    root = tmp_path_factory.mktemp("gpt2")
    random_model(GPT2LMHeadModel, gpt2_config(), seed=0).save_pretrained(root / "base")
    for seed, (name, count) in enumerate(CLASSES.items()):
        config = gpt2_config(num_labels=count, pad_token_id=0)
        random_model(GPT2ForSequenceClassification, config, seed=seed + 1).save_pretrained(root / name)
    gpt2_tokenizer().save_pretrained(root / "base")
    return root


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model, and classifiers whose heads have two layers."""
    from transformers import RobertaForMaskedLM, RobertaForSequenceClassification

    root = tmp_path_factory.mktemp("roberta")
    random_model(RobertaForMaskedLM, roberta_config(), seed=0).save_pretrained(root / "base")
    for seed, (name, count) in enumerate(CLASSES.items()):
        config = roberta_config(num_labels=count)
        random_model(RobertaForSequenceClassification, config, seed=seed + 1).save_pretrained(root / name)
    roberta_tokenizer().save_pretrained(root / "base")
    return root


def pool(root: Path, **changes: Any) -> Any:
    experts = {**{name: str(root / name) for name in CLASSES}, **changes.pop("experts", {})}
    fields = {"base": str(root / "base"), "experts": experts, **changes}
    return load_modelpool({"type": "hf_sequence_classifier", "name": "tiny", **fields})


def theirs(folder: Path) -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder).eval()


@torch.inference_mode()
def alone(model: Any, tokenizer: Any, *texts: str) -> torch.Tensor:
    """Class scores of one example without any padding."""
    return model(**tokenizer(*texts, return_tensors="pt")).logits[0]


@pytest.mark.parametrize("kind", ["gpt2", "roberta"])
def test_an_expert_scores_as_in_transformers(kind: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(kind)
    mine, tokenizer = pool(root), {"gpt2": gpt2_tokenizer, "roberta": roberta_tokenizer}[kind]()
    assert isinstance(mine, ClassifierPool)
    for name, count in CLASSES.items():
        reference, head = theirs(root / name), mine.head(name)
        with torch.inference_mode():
            singles, pairs = head(mine.model(name), mine.tokens(ONE)), head(mine.model(name), mine.tokens(ONE, TWO))
        assert singles.shape == pairs.shape == (3, count)
        assert torch.allclose(singles, torch.stack([alone(reference, tokenizer, t) for t in ONE]), atol=1e-5)
        wanted = torch.stack([alone(reference, tokenizer, *both) for both in zip(ONE, TWO, strict=True)])
        assert torch.allclose(pairs, wanted, atol=1e-5)
        assert not torch.allclose(pairs, singles, atol=1e-2)


@pytest.mark.parametrize("kind", ["gpt2", "roberta"])
def test_backbones_are_fused_and_seen_through_every_head(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root = request.getfixturevalue(kind)
    mine, prefix = pool(root), {"gpt2": "transformer.", "roberta": "roberta."}[kind]
    stored = {name: load_file(root / name / "model.safetensors") for name in ("base", "a", "b")}
    backbone = {name.removeprefix(prefix) for name in stored["a"] if name.startswith(prefix)}
    assert set(mine.state_dict("base")) == set(mine.state_dict("b")) == backbone
    merged = load_algorithm("simple_average").run(mine)
    for name in CLASSES:
        for weights, model in (("merged", merged), ("base", mine.model("base"))):
            reference = theirs(root / name)
            with torch.no_grad():
                for key, tensor in reference.named_parameters():
                    if key.startswith(prefix):
                        tensor.copy_(
                            (stored["a"][key] + stored["b"][key]) / 2 if weights == "merged" else stored["base"][key]
                        )
            tokens = mine.tokens(ONE)
            reference.config.pad_token_id = mine._tokenizer.pad_token_id
            with torch.inference_mode():
                assert torch.allclose(mine.head(name)(model, tokens), reference(**tokens).logits, atol=1e-5), weights
    mine.save(merged, tmp_path)
    again = mine.load_saved(tmp_path)
    with torch.inference_mode():
        assert torch.equal(mine.head("a")(again, tokens), mine.head("a")(merged, tokens))


def test_every_layout_of_a_backbone_is_one(gpt2: Path, tmp_path: Path) -> None:
    """GPT-2's own repository has no prefix, and masks that new versions compute."""
    tensors = load_file(gpt2 / "base" / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    for layer in range(2):
        bare[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
        bare[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    bare["lm_head.weight"] = torch.zeros(2, 2)
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_text((gpt2 / "base" / file).read_text())
    save_file(bare, tmp_path / "model.safetensors")
    mine, other = pool(gpt2), pool(gpt2, base=str(tmp_path))
    assert set(other.state_dict("base")) == set(mine.state_dict("base"))
    for name in mine.state_dict("base"):
        assert torch.equal(other.state_dict("base")[name], mine.state_dict("base")[name]), name
    other.model("a")  # experts fit it


def test_berts_first_names_and_its_pooler(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification

    tiny = {
        "vocab_size": len(roberta_tokenizer()), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": 32, "pad_token_id": 1,
    }  # fmt: skip
    random_model(BertForPreTraining, BertConfig(**tiny), seed=0).save_pretrained(tmp_path / "base")
    tensors = load_file(tmp_path / "base" / "model.safetensors")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    save_file(
        {next((n.replace(k, v) for k, v in old.items() if k in n), n): t for n, t in tensors.items()},
        tmp_path / "base" / "model.safetensors",
    )
    for seed, (name, count) in enumerate(CLASSES.items()):
        config = BertConfig(**tiny, num_labels=count)
        random_model(BertForSequenceClassification, config, seed=seed + 1).save_pretrained(tmp_path / name)
    roberta_tokenizer().save_pretrained(tmp_path / "base")
    mine = pool(tmp_path)
    assert "pooler.dense.weight" in mine.state_dict("base")
    key = "embeddings.LayerNorm.weight"
    assert torch.equal(mine.state_dict("base")[key], tensors[f"bert.{key}"])
    tokens = mine.tokens(ONE)
    with torch.inference_mode():
        found = mine.head("b")(mine.model("b"), tokens)
        assert torch.allclose(found, theirs(tmp_path / "b")(**tokens).logits, atol=1e-6)


def test_gradients_reach_the_backbone_and_nothing_is_kept(gpt2: Path) -> None:
    mine = pool(gpt2)
    model = mine.build(mine.state_dict("a"))
    head = mine.head("a")
    head(model, mine.tokens(ONE)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    watch = weakref.ref(model)
    del model
    gc.collect()
    assert watch() is None  # neither the head nor the pool holds on to it
    with pytest.raises(TypeError):
        head(torch.nn.Identity(), mine.tokens(ONE))
    assert mine.head("a")._around.transformer is None  # given back also where it went wrong


def test_classes_are_named_by_the_expert(gpt2: Path, tmp_path: Path) -> None:
    from transformers import GPT2ForSequenceClassification

    config = gpt2_config(id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1})
    random_model(GPT2ForSequenceClassification, config, seed=5).save_pretrained(tmp_path / "c")
    mine = pool(gpt2, experts={"c": str(tmp_path / "c")})
    assert mine.head_labels("c") == ("negative", "positive")
    assert mine.head_labels("b") == ()


def test_a_restricted_pool_has_every_head(gpt2: Path) -> None:
    mine = pool(gpt2)
    seen = restricted(mine, ["a"])
    assert seen.head("b") is mine.head("b")  # type: ignore[attr-defined]
    with pytest.raises(FusionBenchError):
        seen.state_dict("b")


def test_what_has_no_head(gpt2: Path, tmp_path: Path) -> None:
    mine = pool(gpt2, experts={"c": str(gpt2 / "base")})
    with pytest.raises(FusionBenchError, match=r"no head: no tensor 'score\.weight'"):
        mine.head("c")
    with pytest.raises(FusionBenchError, match=r"'sst2'.*heads of pool 'tiny'(.|\n)*through its expert's head"):
        mine.head("sst2")
    tensors = load_file(gpt2 / "a" / "model.safetensors")
    (tmp_path / "config.json").write_text((gpt2 / "b" / "config.json").read_text())
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(FusionBenchError, match=r"is of shape \(2, 16\), and its config.json says \(3, 16\)"):
        pool(gpt2, experts={"c": str(tmp_path)}).head("c")
    (tmp_path / "adapter_config.json").write_text("{}")
    for ask in (lambda p: p.state_dict("c"), lambda p: p.content_hash()):
        with pytest.raises(FusionBenchError, match="is an adapter, and pool 'tiny' needs classifiers"):
            ask(pool(gpt2, experts={"c": str(tmp_path)}))


def test_what_does_not_fit(gpt2: Path, roberta: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match=r"\(c\) has nothing of what pool 'tiny' fuses"):
        pool(gpt2, experts={"c": str(roberta / "a")}).state_dict("c")
    tensors = load_file(gpt2 / "a" / "model.safetensors")
    tensors["transformer.h.2.ln_1.weight"] = torch.ones(16)  # a layer more than the base
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((gpt2 / "a" / "config.json").read_text())
    with pytest.raises(FusionBenchError, match=r"'h\.2\.ln_1\.weight'.*is not in"):
        pool(gpt2, experts={"c": str(tmp_path)}).state_dict("c")
