"""Encoder-decoders in the hub's formats, against transformers and peft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.text_models import Seq2SeqPool
from fusion_bench.registry import load_algorithm, load_modelpool
from tests.helpers.tiny_text import gpt2_config, gpt2_tokenizer, random_model, t5_config, t5_tokenizer

TEXTS = ["the cat sat on a mat", "it ran", "is it not a very good red dog ?"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose output head is its embedding, as T5's, and two experts."""
    from transformers import T5ForConditionalGeneration

    root = tmp_path_factory.mktemp("t5")
    for seed, name in enumerate(("base", "a", "b")):
        random_model(T5ForConditionalGeneration, t5_config(), seed=seed).save_pretrained(root / name)
    t5_tokenizer().save_pretrained(root / "base")
    return root


@pytest.fixture(scope="module")
def apart(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with heads of their own, as Flan-T5's: tie_word_embeddings is false in the base's configuration."""
    root = tmp_path_factory.mktemp("flan")
    for seed, name in enumerate(("base", "a", "b")):
        tensors = load_file(folders / name / "model.safetensors")
        generator = torch.Generator().manual_seed(seed)
        tensors["lm_head.weight"] = torch.randn(tensors["shared.weight"].shape, generator=generator)
        (root / name).mkdir()
        save_file(tensors, root / name / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((folders / name / "config.json").read_text())
        config.pop("scale_decoder_outputs", None)
        (root / name / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    t5_tokenizer().save_pretrained(root / "base")
    return root


def pool(folders: Path, **changes: Any) -> Any:
    fields = {"base": str(folders / "base"), "experts": {"a": str(folders / "a"), "b": str(folders / "b")}}
    experts = {**fields["experts"], **changes.pop("experts", {})}
    return load_modelpool({"type": "hf_seq2seq", "name": "tiny", **fields, "experts": experts, **changes})


def theirs(folder: Path) -> Any:
    from transformers import T5ForConditionalGeneration

    return T5ForConditionalGeneration.from_pretrained(folder).eval()


def scores(model: Any, pool_: Any) -> torch.Tensor:
    tokens = pool_.tokens(TEXTS)
    start = torch.tensor([[0, 5, 9]]).expand(len(TEXTS), -1)
    with torch.inference_mode():
        return model(**tokens, decoder_input_ids=start).logits


@pytest.mark.parametrize("kind", ["folders", "apart"])
def test_every_model_is_transformers_own(kind: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(kind)
    mine = pool(root)
    assert isinstance(mine, Seq2SeqPool)
    found = [scores(mine.model(name), mine) for name in ("base", "a", "b")]
    for name, got in zip(("base", "a", "b"), found, strict=True):
        assert torch.equal(got, scores(theirs(root / name), mine)), name
    assert not torch.allclose(found[0], found[1], atol=1e-2)
    assert ("lm_head.weight" in mine.state_dict("base")) == (kind == "apart")
    assert "encoder.embed_tokens.weight" not in mine.state_dict("base")
    assert mine.model("a").encoder.embed_tokens.weight is mine.model("a").shared.weight
    assert (mine.model("a").lm_head.weight is mine.model("a").shared.weight) == (kind == "folders")
    assert mine.model("a").config.scale_decoder_outputs == (kind == "folders")


@pytest.mark.parametrize("kind", ["folders", "apart"])
def test_a_merge_is_saved_as_transformers_reads_it(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    root = request.getfixturevalue(kind)
    mine = pool(root)
    merged = load_algorithm("simple_average").run(mine)
    a, b, state = load_file(root / "a" / "model.safetensors"), load_file(root / "b" / "model.safetensors"), {}
    for name, tensor in merged.state_dict().items():
        if name in a:
            state[name] = (a[name].double() + b[name].double()) / 2
            assert torch.allclose(tensor.double(), state[name], atol=1e-7), name
    assert len(state) == len(a)
    mine.save(merged, tmp_path)
    assert torch.equal(scores(mine.load_saved(tmp_path), mine), scores(merged, mine))
    again = theirs(tmp_path)
    again.config.scale_decoder_outputs = merged.config.scale_decoder_outputs
    assert torch.equal(scores(again, mine), scores(merged, mine))


def test_names_of_one_tensor_are_one_tensor(folders: Path, tmp_path: Path) -> None:
    """Pickles of transformers 4 hold the embedding under each of its names, and old versions tables beside it."""
    mine = pool(folders)
    tensors = load_file(folders / "a" / "model.safetensors")
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors["shared.weight"].clone()
    tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.ones(32, 2)
    (tmp_path / "all").mkdir()
    torch.save(tensors, tmp_path / "all" / "pytorch_model.bin")
    other = dict(tensors)
    other["encoder.embed_tokens.weight"] = other.pop("shared.weight")  # and it may be called otherwise
    other.pop("decoder.embed_tokens.weight")
    (tmp_path / "other").mkdir()
    save_file({k: v.clone() for k, v in other.items()}, tmp_path / "other" / "model.safetensors")
    for name in ("all", "other"):
        state = pool(folders, experts={"c": str(tmp_path / name)}).state_dict("c")
        assert sorted(state) == sorted(mine.state_dict("a")), name
        for key in state:
            assert torch.equal(state[key], mine.state_dict("a")[key]), key


def test_a_head_of_its_own_does_not_fit_a_base_that_ties_it(folders: Path, apart: Path) -> None:
    with pytest.raises(FusionBenchError, match=r"'lm_head\.weight'.*not in"):
        pool(folders, experts={"c": str(apart / "a")}).state_dict("c")
    with pytest.raises(FusionBenchError, match=r"'lm_head\.weight'.*is missing"):
        pool(apart, experts={"c": str(folders / "a")}).state_dict("c")


@pytest.mark.parametrize("kind", ["folders", "apart"])
def test_adapters_are_merged_as_peft_does(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")

    root = request.getfixturevalue(kind)
    settings = peft.LoraConfig(r=16, lora_alpha=32, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM")
    adapted = peft.get_peft_model(theirs(root / "base"), settings)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        for name, tensor in adapted.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=0.1)
    adapted.save_pretrained(tmp_path)
    merged = adapted.merge_and_unload().eval()
    mine = pool(root, experts={"c": str(tmp_path)})
    assert torch.allclose(scores(mine.model("c"), mine), scores(merged, mine), atol=1e-4)
    assert not torch.allclose(scores(mine.model("c"), mine), scores(mine.model("base"), mine), atol=1e-2)
    own = merged.state_dict()
    changed = [k for k, t in mine.state_dict("c").items() if not torch.equal(t.float(), mine.state_dict("base")[k])]
    assert len(changed) == 2 * 2 * 3  # q and v of two layers: of the encoder, of the decoder, and between them
    for name in changed:
        assert torch.allclose(mine.state_dict("c")[name].float(), own[name], atol=1e-6), name
    assert scores(load_algorithm("task_arithmetic").run(mine), mine).isfinite().all()


def test_another_family(tmp_path: Path) -> None:
    """BART: other names, learned positions, and a bias that is a buffer."""
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=len(t5_tokenizer()), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64,
        pad_token_id=0, bos_token_id=0, eos_token_id=1, decoder_start_token_id=1, forced_eos_token_id=1,
    )  # fmt: skip
    for seed, name in enumerate(("base", "a", "b")):
        model = random_model(BartForConditionalGeneration, config, seed=seed)
        model.final_logits_bias.normal_(generator=torch.Generator().manual_seed(seed))
        model.save_pretrained(tmp_path / name)
    t5_tokenizer().save_pretrained(tmp_path / "base")
    mine = pool(tmp_path)
    for name in ("base", "b"):
        reference = BartForConditionalGeneration.from_pretrained(tmp_path / name).eval()
        assert torch.equal(scores(mine.model(name), mine), scores(reference, mine))


def test_texts_and_answers(folders: Path) -> None:
    mine, own = pool(folders, max_tokens=6), t5_tokenizer()
    tokens = mine.tokens(["it ran", "the cat sat on a very good mat"])
    assert tokens["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert tokens["input_ids"][0].tolist() == [*own("it ran")["input_ids"], 0, 0, 0]
    assert tokens["input_ids"][1, -1] == own.eos_token_id
    answers = ["yes", "not_equivalent cat"]
    assert mine.targets(answers) == [own(answer)["input_ids"] for answer in answers]
    assert mine.words(torch.tensor([[0, *own("yes")["input_ids"], 0]])) == ["yes"]


def test_what_cannot_be_such_a_pool(folders: Path, tmp_path: Path) -> None:
    from transformers import GPT2LMHeadModel

    random_model(GPT2LMHeadModel, gpt2_config(), seed=0).save_pretrained(tmp_path / "gpt2")
    gpt2_tokenizer().save_pretrained(tmp_path / "gpt2")
    with pytest.raises(FusionBenchError, match="of type 'gpt2', which has no encoder beside its decoder"):
        pool(folders, base=str(tmp_path / "gpt2")).state_dict("base")
    with pytest.raises(FusionBenchError, match=r"c\) does not fit"):
        pool(folders, experts={"c": str(tmp_path / "gpt2")}).state_dict("c")
    with pytest.raises(FusionBenchError, match="greater than or equal to 4"):
        pool(folders, max_tokens=2)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "model.safetensors").write_bytes((folders / "base" / "model.safetensors").read_bytes())
    with pytest.raises(FusionBenchError, match=r"(?s)cannot open .*bare \(base\) with AutoConfig.*config.json"):
        pool(folders, base=str(bare)).state_dict("base")
    (bare / "config.json").write_text((folders / "base" / "config.json").read_text())
    with pytest.raises(FusionBenchError, match="has no tokenizer"):
        pool(folders, base=str(bare)).tokens(TEXTS)
    tensors = load_file(folders / "base" / "model.safetensors")
    del tensors["encoder.final_layer_norm.weight"]
    save_file(tensors, bare / "model.safetensors")
    with pytest.raises(FusionBenchError, match=r"no tensor 'encoder\.final_layer_norm\.weight', which its conf"):
        pool(folders, base=str(bare)).model("base")
