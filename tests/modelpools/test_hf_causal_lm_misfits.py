"""Decoders that differ from their base, and what is no pool of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import load_algorithm
from tests.helpers.tiny_causal import NAMES, decoder_config, pool, scores, stored, theirs, write
from tests.helpers.tiny_text import gpt2_tokenizer, random_model, roberta_config, t5_config


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    fields = {"Llama": {"tie_word_embeddings": False}, "Gemma2": {"half": True}, "Qwen2": {"tie_word_embeddings": True}}
    kinds = {**fields, "GPT2": {}}
    return {kind.lower(): write(tmp_path_factory.mktemp(kind), kind, **how) for kind, how in kinds.items()}


@pytest.mark.parametrize("tie", [True, False])
def test_added_tokens(tie: bool, tmp_path: Path) -> None:
    """MergeBench's experts of Llama-3.2-3B have 128,320 rows, the base 128,256."""
    rows = len(gpt2_tokenizer())
    write(tmp_path, "Llama", tie_word_embeddings=tie, half=True)
    larger = theirs(tmp_path / "a")
    larger.resize_token_embeddings(rows + 8)
    larger.config.pad_token_id = rows  # one of those that were added
    larger.save_pretrained(tmp_path / "c")
    where = {"c": str(tmp_path / "c")}
    with pytest.raises(FusionBenchError, match=rf"\({rows + 8}, 16\), .*has \({rows}, 16\)") as caught:
        pool(tmp_path, experts=where).state_dict("c")
    assert "on_mismatch='base' takes these tensors from the base" in str(caught.value.hint)
    mine = pool(tmp_path, experts=where, on_mismatch="base")
    base, own = stored(tmp_path / "base"), stored(tmp_path / "a")
    taken = {"model.embed_tokens.weight"} | ({"lm_head.weight"} if not tie else set())
    assert set(mine.state_dict("c")) == set(base)
    for name, tensor in mine.state_dict("c").items():
        assert torch.equal(tensor, (base if name in taken else own)[name]), name
    expert, merged = mine.model("c"), load_algorithm("simple_average").run(mine)
    for model in (expert, merged):
        assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size == rows
        assert scores(model, mine).shape[-1] == rows
    inside = "model.layers.0.mlp.up_proj.weight"
    parts = [stored(tmp_path / name)[inside].double() for name in ("a", "b", "a")]
    assert torch.equal(merged.state_dict()[inside], (sum(parts) / 3).bfloat16())


def test_an_expert_computes_as_its_own_configuration_says(folders: dict[str, Path], tmp_path: Path) -> None:
    """Qwen2.5-Math turns positions otherwise than Qwen2.5; a merge of it is the base's."""
    from transformers import Qwen2ForCausalLM

    config = decoder_config(
        "Qwen2", tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 3}
    )
    random_model(Qwen2ForCausalLM, config, seed=5).save_pretrained(tmp_path / "c")
    mine = pool(folders["qwen2"], experts={"c": str(tmp_path / "c")})
    expert, same = mine.model("c"), mine.build(mine.state_dict("c"))
    assert torch.equal(scores(expert, mine), scores(theirs(tmp_path / "c"), mine))
    assert not torch.allclose(scores(expert, mine), scores(same, mine), atol=1e-2)
    assert same.config.to_dict() == mine.model("base").config.to_dict()
    mine.save(expert, tmp_path / "saved")
    for again in (mine.load_saved(tmp_path / "saved"), theirs(tmp_path / "saved")):
        assert torch.equal(scores(again, mine), scores(expert, mine))


def test_a_head_is_tied_as_it_is_stored(folders: dict[str, Path], tmp_path: Path) -> None:
    """What says that it is tied and has two tensors is two; equal ones are one; old tables are left out."""
    tensors = stored(folders["qwen2"] / "a")
    equal = {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
    equal["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    (tmp_path / "equal").mkdir()
    save_file(equal, tmp_path / "equal" / "model.safetensors")
    state = pool(folders["qwen2"], experts={"c": str(tmp_path / "equal")}).state_dict("c")
    assert sorted(state) == sorted(tensors)
    for name, tensor in state.items():
        assert torch.equal(tensor, tensors[name]), name
    other = {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"] + 1}
    for name in NAMES:
        (tmp_path / name).mkdir()
        save_file(other, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        for path in (folders["qwen2"] / "base").glob("*.json"):
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    mine = pool(tmp_path)
    assert torch.equal(mine.model("a").lm_head.weight, other["lm_head.weight"])
    assert torch.equal(scores(mine.model("a"), mine), scores(theirs(tmp_path / "a"), mine))
    with pytest.raises(FusionBenchError, match=r"'lm_head\.weight'.*not in"):
        pool(folders["qwen2"], experts={"c": str(tmp_path / "a")}).state_dict("c")


def test_models_are_of_the_base_s_type(folders: dict[str, Path], tmp_path: Path) -> None:
    """An expert of another is read as it is stored, and rounded when it is built."""
    tensors = {name: tensor.float() * 1.0001 for name, tensor in stored(folders["gemma2"] / "a").items()}
    (tmp_path / "c").mkdir()
    save_file(tensors, tmp_path / "c" / "model.safetensors")
    mine = pool(folders["gemma2"], experts={"c": str(tmp_path / "c")})
    for name, tensor in mine.model("c").state_dict().items():
        if name in tensors:
            assert torch.equal(mine.state_dict("c")[name], tensors[name])
            assert torch.equal(tensor, tensors[name].bfloat16())
    merged, b = load_algorithm("simple_average").run(mine), stored(folders["gemma2"] / "b")
    for name, tensor in stored(folders["gemma2"] / "a").items():
        exact = (tensor.double() + b[name].double() + tensors[name].double()) / 3
        assert torch.equal(merged.state_dict()[name], exact.bfloat16()), name


def test_what_cannot_be_such_a_pool(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import RobertaForMaskedLM, T5ForConditionalGeneration

    llama = folders["llama"]
    random_model(T5ForConditionalGeneration, t5_config(), seed=0).save_pretrained(tmp_path / "t5")
    random_model(RobertaForMaskedLM, roberta_config(), seed=0).save_pretrained(tmp_path / "roberta")
    for call in ("state_dict", "model"):
        with pytest.raises(FusionBenchError, match="of type 't5', which has an encoder beside its decoder"):
            getattr(pool(llama, base=str(tmp_path / "t5")), call)("base")
        with pytest.raises(FusionBenchError, match="of type 'roberta', an encoder, which does not go on"):
            getattr(pool(llama, base=str(tmp_path / "roberta")), call)("base")
    with pytest.raises(FusionBenchError, match=r"t5 \(c\) does not fit"):
        pool(llama, experts={"c": str(tmp_path / "t5")}).state_dict("c")
    with pytest.raises(FusionBenchError, match=r"\(c\) does not fit .*'model\.embed_tokens\.weight'.*is missing"):
        pool(llama, experts={"c": str(folders["gpt2"] / "a")}).state_dict("c")
    with pytest.raises(FusionBenchError, match="max_tokens"):
        pool(llama, max_tokens=5)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "model.safetensors").write_bytes((llama / "base" / "model.safetensors").read_bytes())
    with pytest.raises(FusionBenchError, match=r"(?s)cannot open .*bare \(base\) with AutoConfig.*config.json"):
        pool(llama, base=str(bare)).state_dict("base")
    (bare / "config.json").write_text((llama / "base" / "config.json").read_text())
    with pytest.raises(FusionBenchError, match=r"bare \(base\) has no tokenizer"):
        _ = pool(llama, base=str(bare)).tokenizer
    tensors = stored(llama / "base")
    del tensors["model.norm.weight"]
    save_file(tensors, bare / "model.safetensors")
    with pytest.raises(FusionBenchError, match=r"no tensor 'model\.norm\.weight', which its configuration asks"):
        pool(llama, base=str(bare)).model("base")


def test_code_beside_the_weights_is_not_run(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked whether it may be, either."""
    monkeypatch.setattr("builtins.input", lambda question: "y")
    base = tmp_path / "base"
    base.mkdir()
    for path in (folders["llama"] / "base").iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}}
    (base / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(FusionBenchError, match=r"cannot open .*base \(base\).* custom code"):
        pool(folders["llama"], base=str(base)).state_dict("base")
    config |= {"model_type": "llama"}
    (base / "config.json").write_text(json.dumps(config))
    mine = pool(folders["llama"], base=str(base))
    assert torch.equal(scores(mine.model("base"), mine), scores(pool(folders["llama"]).model("base"), mine))
    assert not (tmp_path / "ran").exists()


def test_added_tokens_by_token(tmp_path: Path) -> None:
    """Rows that were added are left out, those of the base's tokens fused."""
    rows = len(gpt2_tokenizer())
    write(tmp_path, "Llama", tie_word_embeddings=True, half=True)
    larger, own = theirs(tmp_path / "a"), gpt2_tokenizer()
    own.add_tokens(["<|more|>", "<|still more|>"])
    larger.resize_token_embeddings(rows + 8)
    larger.save_pretrained(tmp_path / "c")
    own.save_pretrained(tmp_path / "c")
    mine = pool(tmp_path, experts={"c": str(tmp_path / "c")}, on_mismatch="tokens")
    found, wanted = mine.state_dict("c"), stored(tmp_path / "c")
    assert set(found) == set(stored(tmp_path / "base"))
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name][:rows] if "embed_tokens" in name else wanted[name]), name
    assert scores(mine.model("c"), mine).shape[-1] == rows


@pytest.mark.parametrize("more", [0, 2])
def test_ids_that_moved(tmp_path: Path, more: int) -> None:
    """Two tokens have changed places, with the same number of rows as the base or with some more."""
    rows = len(gpt2_tokenizer())
    write(tmp_path, "Llama", tie_word_embeddings=False)
    theirs(tmp_path / "a").save_pretrained(tmp_path / "c")
    expert = theirs(tmp_path / "a")
    expert.resize_token_embeddings(rows + more)
    expert.save_pretrained(tmp_path / "c")
    gpt2_tokenizer().save_pretrained(tmp_path / "c")
    path = tmp_path / "c" / "tokenizer.json"
    content = json.loads(path.read_text())
    ids = content["model"]["vocab"]
    ids["cat"], ids["dog"] = ids["dog"], ids["cat"]
    path.write_text(json.dumps(content))
    where = {"c": str(tmp_path / "c")}
    with pytest.raises(FusionBenchError, match="other ids for tokens" if not more else "has shape"):
        pool(tmp_path, experts=where).state_dict("c")
    mine, stored_rows = pool(tmp_path, experts=where, on_mismatch="tokens"), stored(tmp_path / "c")
    order = list(range(rows))
    order[ids["cat"]], order[ids["dog"]] = ids["dog"], ids["cat"]
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(mine.state_dict("c")[name], stored_rows[name][order]), name
        assert torch.equal(mine.model("c").state_dict()[name], stored_rows[name][order]), name
    merged = load_algorithm("simple_average").run(mine).state_dict()
    others = [stored(tmp_path / name)["lm_head.weight"] for name in ("a", "b")]
    assert torch.allclose(merged["lm_head.weight"], (sum(others) + stored_rows["lm_head.weight"][order]) / 3, atol=1e-6)
