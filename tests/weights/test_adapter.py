"""Adapters against what peft itself makes of them, on tiny models of transformers; and those that are refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from fusion_bench.errors import FusionBenchError
from fusion_bench.weights.opening import open_checkpoint
from tests.helpers.tiny_adapters import change, check, llama, loaded, opened, save

peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[oracles]'")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

QUERY = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    "modules",
    [["embed_tokens"], ["lm_head"], ["lm_head", "embed_tokens", "q_proj", "down_proj"]],
)
def test_embeddings_and_heads_are_adapted(modules, tmp_path):
    adapted = save(llama(), tmp_path, target_modules=modules)
    keys = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert any(key.endswith(".base_layer.weight") for key in keys)  # peft's default
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)
    assert found.factors(f"{'lm_head' if 'lm_head' in modules else 'model.embed_tokens'}.weight") is not None


def test_an_embedding_is_the_one_that_the_adapter_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr("fusion_bench.weights.adapter._BLOCK", 64)  # several blocks a tensor
    adapted = save(llama(), tmp_path, target_modules=["embed_tokens", "lm_head"])
    stored = {k: t.clone() for k, t in load_file(tmp_path / "a" / "adapter_model.safetensors").items()}
    stored["base_model.model.model.embed_tokens.base_layer.weight"] += 1
    save_file(stored, tmp_path / "a" / "adapter_model.safetensors")
    adapted = loaded(llama(), tmp_path)
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)
    assert found.factors("model.embed_tokens.weight") is None  # the difference to the base is not low-rank
    assert found.factors("lm_head.weight") is not None


def test_a_stored_embedding_of_another_shape(tmp_path):
    save(llama(), tmp_path, target_modules=["lm_head"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.lm_head.base_layer.weight": torch.zeros(48, 31)}, file)
    with pytest.raises(FusionBenchError, match=r"was trained on 'lm_head.weight' of shape \(48, 31\)"):
        opened(tmp_path)


@pytest.mark.parametrize("start", [True, False, "gaussian", "orthogonal", "mica", "eva"])
def test_initialisations_that_keep_the_base(start, tmp_path):
    model = llama()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = save(model, tmp_path, target_modules=["q_proj"], init_lora_weights=start)
    kept = adapted.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight
    assert torch.equal(kept, before[QUERY])
    base, found = opened(tmp_path)
    check(found, adapted.merge_and_unload().state_dict(), base)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora"])
def test_initialisations_that_change_the_base(start, tmp_path):
    model = llama()
    model.save_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=start))
    adapted.peft_config["default"].init_lora_weights = True
    adapted.save_pretrained(tmp_path / "start")
    adapted.peft_config["default"].init_lora_weights = start
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora" in name:
            parameter.data += torch.randn(parameter.shape)
    adapted.save_pretrained(tmp_path / "a")
    with pytest.raises(FusionBenchError, match=f"init_lora_weights '{start}' changes the base.*\n.*weight_conversion"):
        opened(tmp_path)
    adapted.save_pretrained(tmp_path / "a", path_initial_model_for_weight_conversion=str(tmp_path / "start"))
    base, found = opened(tmp_path)
    merged = adapted.merge_and_unload().state_dict()
    torch.testing.assert_close(found[QUERY].float(), merged[QUERY], rtol=1e-4, atol=1e-4)
    check(found, loaded(llama(), tmp_path).merge_and_unload().state_dict(), base)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("corda", "changes the base"),
        ("lora_ga", "changes the base"),
        ("loftq", "changes the base.*\n.*give the model that this initialisation made"),
        ("new", "init_lora_weights is 'new'.*\n.*orthogonal"),
    ],
)
def test_initialisations_that_need_data_or_are_unknown(start, message, tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    change(tmp_path / "a" / "adapter_config.json", init_lora_weights=start)
    with pytest.raises(FusionBenchError, match=message):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora_alpha": None}, "lora_alpha is None.*\n.*a number"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"alpha_pattern": ["q_proj"]}, r"alpha_pattern is \['q_proj'\]"),
        ({"alpha_pattern": {"(q": 3}}, r"alpha_pattern is '\(q'.*\n.*regular expressions"),
        ({"alpha_pattern": {"q_proj": "3"}}, r"alpha_pattern\['q_proj'\] is '3'"),
        ({"rank_pattern": 5}, "rank_pattern is 5"),
        ({"rank_pattern": {"q_proj": 0}}, r"rank_pattern\['q_proj'\] is 0.*\n.*above 0"),
        ({"r": 0}, "r is 0"),
        ({"r": -4}, "r is -4"),
        ({"r": None}, "r is None"),
        ({"r": 8}, "gives model.layers.0.self_attn.q_proj the rank 8, and its factors have 4"),
        ({"use_rslora": "no"}, "use_rslora is 'no'"),
        ({"fan_in_fan_out": 1}, "fan_in_fan_out is 1"),
        ({"trainable_token_indices": [1, 2]}, "trainable_token_indices is not supported.*\n.*merge"),
        ({"layer_replication": [[0, 1], [0, 1]]}, "layer_replication is not supported.*\n.*more layers"),
        ({"target_parameters": ["experts.w"]}, "target_parameters is not supported"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is not supported.*\n.*depends on the input"),
        ({"lora_bias": True}, "lora_bias is not supported"),
    ],
)
def test_configs_that_mean_nothing_or_something_else(fields, message, tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    change(tmp_path / "a" / "adapter_config.json", **fields)
    with pytest.raises(FusionBenchError, match=message) as error:
        opened(tmp_path)
    assert str(tmp_path / "a" / "adapter_config.json") in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1]", "holds a list"), ("{", "cannot read"), ("{}", "no peft_type"), ("\xff", "cannot read")],
)
def test_configs_that_are_none(text, message, tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    (tmp_path / "a" / "adapter_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FusionBenchError, match=message):
        opened(tmp_path)


def test_factors_that_make_no_product(tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    stored = load_file(file)
    key = next(key for key in stored if "lora_A" in key)
    for broken in (torch.zeros(32), torch.zeros(3, 32), torch.zeros(0, 32)):
        save_file({**stored, key: broken}, file)
        with pytest.raises(FusionBenchError, match="have no product"):
            opened(tmp_path)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin", "mine.safetensors"])
def test_an_adapters_file_is_not_a_checkpoint(name, tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    file = tmp_path / "a" / "adapter_model.safetensors"
    if name.endswith(".bin"):
        torch.save(load_file(file), tmp_path / "a" / name)
    else:
        file = file.rename(tmp_path / "a" / name)
    with pytest.raises(FusionBenchError, match=f"{name} is an adapter's file\n.*give its folder, "):
        open_checkpoint(tmp_path / "a" / name)


def test_a_whole_model_beside_an_adapters_config(tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    file = (tmp_path / "base" / "model.safetensors").rename(tmp_path / "a" / "model.safetensors")
    assert len(open_checkpoint(file)) == len(llama().state_dict())


def test_an_adapters_folder_without_its_config(tmp_path):
    save(llama(), tmp_path, target_modules=["q_proj"])
    (tmp_path / "a" / "adapter_config.json").unlink()
    with pytest.raises(FusionBenchError, match=r"is an adapter without adapter_config\.json"):
        opened(tmp_path)
